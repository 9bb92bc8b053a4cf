"""XDP: the FNV-1a hash of the first 34 bytes chooses the bucket in which a packet is counted."""

from __future__ import annotations

import pyebpf as bpf
from pyebpf import u8, u32, u64

bpf.license("GPL")

LENGTH = 34
BUCKETS = 64


@bpf.struct
class Head:
    """The bytes that count."""

    octets: list[int] = bpf.array(u8, LENGTH)


buckets = bpf.ArrayMap[u32, u64](max_entries=BUCKETS)


@bpf.xdp(on_error=bpf.XDP_DROP)
def xdp_fnv(ctx: bpf.Xdp) -> int:
    """Shorter packets are dropped."""
    value: u32 = 2166136261
    for octet in ctx.read(Head, 0).octets:
        value ^= octet
        value *= 16777619
    buckets[value % BUCKETS] += 1
    return bpf.XDP_PASS
