# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A field of a struct that may not be there."""

import pyebpf as bpf
from pyebpf import u32, u64


@bpf.struct
class Stats:
    packets: u64

stats = bpf.HashMap[u32, Stats](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    found = stats.get(1)
    found.packets += 1  # error: E0311
    return 0
