# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A variable that is assigned on one path only."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    if skb.len > 4:
        n = 1
    return n  # error: E0202
