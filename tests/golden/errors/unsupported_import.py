# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""An import inside a program."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    import socket  # error: E0101
    return 0
