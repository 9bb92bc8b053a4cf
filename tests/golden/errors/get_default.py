# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A default for a map of structs."""

import pyebpf as bpf
from pyebpf import u32, u64


@bpf.struct
class Stats:
    packets: u64

stats = bpf.HashMap[u32, Stats](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    found = stats.get(1, 0)  # error: E0606
    return 0
