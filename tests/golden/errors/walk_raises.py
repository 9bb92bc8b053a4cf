# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""An exception that would leave a callback of a helper."""

import pyebpf as bpf
from pyebpf import u32, u64

packets = bpf.HashMap[u32, u64](max_entries=4)


def each(map, key, value, state):
    return packets[key] > 3


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    bpf.for_each_map_elem(packets, each, None, 0)  # error: E0906
    return 0
