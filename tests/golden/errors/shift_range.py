# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A shift count that may be too large."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return 1 << skb.len  # error: E0304
