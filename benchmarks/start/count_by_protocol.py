"""Socket filter: counts IPv4 packets by protocol and keeps every packet. For ``benchmarks.startup``."""

from __future__ import annotations

import pyebpf as bpf
from pyebpf import be16, u8, u32, u64

bpf.license("GPL")

packets = bpf.ArrayMap[u32, u64](max_entries=256)


@bpf.socket_filter(on_error=bpf.KEEP)
def count_by_protocol(skb: bpf.SkBuff) -> int:
    """Count received packets by IPv4 protocol, keep every packet."""
    if skb.load(be16, 12) == bpf.ETH_P_IP:
        protocol = skb.load(u8, bpf.ETH_HLEN + 9)
        packets[protocol] += 1
    return len(skb)
