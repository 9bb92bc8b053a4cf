# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A loop without a bound."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    n = 0
    while skb.len > n:  # error: E0401
        n = n * 2
    return n
