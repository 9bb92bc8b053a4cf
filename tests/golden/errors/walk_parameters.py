# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A callback of a helper with too few parameters."""

import pyebpf as bpf
from pyebpf import u32, u64

packets = bpf.HashMap[u32, u64](max_entries=4)


def each(key, value):
    return False


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    bpf.for_each_map_elem(packets, each, None, 0)  # error: E0906
    return 0
