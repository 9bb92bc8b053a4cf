# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A map where a number is wanted."""

import pyebpf as bpf
from pyebpf import u32, u64

packets = bpf.ArrayMap[u32, u64](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return packets + 1  # error: E0204
