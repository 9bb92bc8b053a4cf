# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A function that returns what may be its own or the map's."""

import pyebpf as bpf
from pyebpf import u32, u64


@bpf.struct
class Stats:
    packets: u64

stats = bpf.HashMap[u32, Stats](max_entries=4)


def find(key):
    found = stats.get(key)
    if found is None:
        found = Stats()
    return found  # error: E0504


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return find(1).packets
