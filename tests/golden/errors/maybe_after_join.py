# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Narrowed on one branch only."""

import pyebpf as bpf
from pyebpf import u32, u64


@bpf.struct
class Stats:
    packets: u64

stats = bpf.HashMap[u32, Stats](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    found = stats.get(1)
    if found is None:
        found = stats.get(2)
    return found.packets  # error: E0311
