# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Updates of fields of a packed struct that other CPUs share: the aligned one is atomic, the others cannot be."""

import pyebpf as bpf
from pyebpf import u8, u32, u64


@bpf.struct(packed=True)
class Entry:
    total: u64
    kind: u8
    count: u32


entries = bpf.HashMap[u32, Entry](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    entry = entries.get(1)
    if entry is not None:
        entry.total += 1
        entry.count += 1  # error: E0508
    return 0
