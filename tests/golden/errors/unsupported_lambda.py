# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A lambda inside an expression."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return (lambda: 1)()  # error: E0101
