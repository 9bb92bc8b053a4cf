# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A misspelt name, with suggestions."""

import pyebpf as bpf
from pyebpf import u32, u64

packets = bpf.ArrayMap[u32, u64](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    pakets[0] += 1  # error: E0201
    return 0
