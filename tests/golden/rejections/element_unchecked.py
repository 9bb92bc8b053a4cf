"""An element of an array in a map, compiled without the test of the index."""

from __future__ import annotations

import pyebpf as bpf
from pyebpf import u32, u64


@bpf.struct
class Table:
    """Eight counters."""

    entries: list[int] = bpf.array(u64, 8)


tables = bpf.ArrayMap[u32, Table](max_entries=1)


@bpf.xdp
def element_unchecked(ctx: bpf.Xdp) -> int:
    """The counter of a queue."""
    table = tables.get(0)
    if table is None:
        return bpf.XDP_PASS
    queue = ctx.rx_queue_index
    return table.entries[queue] & 1  # error: E1104
