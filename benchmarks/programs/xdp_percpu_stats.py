"""XDP: counts packets and bytes by verdict, on each CPU apart."""

from __future__ import annotations

import pyebpf as bpf
from pyebpf import u32, u64

bpf.license("GPL")


@bpf.struct
class Record:
    """Traffic with a verdict."""

    rx_packets: u64
    rx_bytes: u64


xdp_stats_map = bpf.PerCpuArray[u32, Record](max_entries=bpf.XDP_REDIRECT + 1)


def record(ctx: bpf.Xdp, verdict: int) -> int:
    """Count a packet under its verdict."""
    counters = xdp_stats_map[verdict]
    counters.rx_packets += 1
    counters.rx_bytes += len(ctx)
    return verdict


@bpf.xdp
def xdp_percpu_stats(ctx: bpf.Xdp) -> int:
    """Everything passes."""
    return record(ctx, bpf.XDP_PASS)
