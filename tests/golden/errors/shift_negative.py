# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A shift count that may be negative."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    n = (skb.len & 7) - 3
    return 8 >> n  # error: E0304
