# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A bare return in a program."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    if skb.len > 4:
        return  # error: E0403
    return 1
