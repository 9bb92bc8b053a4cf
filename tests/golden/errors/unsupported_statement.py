# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A class statement inside a program."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    class Inner:  # error: E0101
        pass
    return 0
