# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A counter that stands still on one path."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    i = 0
    while i < 10:  # error: E0401
        if skb.len == i:
            continue
        i += 1
    return i
