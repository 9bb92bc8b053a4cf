"""An element of a local array, compiled without the test of the index."""

from __future__ import annotations

import pyebpf as bpf
from pyebpf import u32


@bpf.xdp
def local_unchecked(ctx: bpf.Xdp) -> int:
    """One of four numbers."""
    weights = bpf.array(u32, 4)
    weights[ctx.ingress_ifindex & 3] = 7
    weight: u32 = weights[ctx.rx_queue_index & 7]  # error: E1106
    return weight
