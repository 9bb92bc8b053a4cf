# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A callback of a helper that uses a variable of the enclosing function."""

import pyebpf as bpf
from pyebpf import u32, u64

packets = bpf.HashMap[u32, u64](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    limit = skb.len

    def each(map, key, value, state):
        return key > limit

    bpf.for_each_map_elem(packets, each, None, 0)  # error: E0906
    return 0
