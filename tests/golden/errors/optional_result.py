# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A function that returns a number or None."""

import pyebpf as bpf


def find(n):
    if n > 3:
        return None
    return n  # error: E0912


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    find(skb.len)
    return 0
