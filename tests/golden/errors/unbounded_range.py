# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A range over a number that may be huge."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    total = 0
    for i in range(skb.len):  # error: E0401
        total += i
    return total
