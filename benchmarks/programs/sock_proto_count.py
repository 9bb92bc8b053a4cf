"""Socket filter: counts IPv4 packets by protocol and keeps none."""

from __future__ import annotations

import pyebpf as bpf
from pyebpf import be16, u8, u32, u64

bpf.license("GPL")

proto_count = bpf.ArrayMap[u32, u64](max_entries=256)


@bpf.socket_filter
def sock_proto_count(skb: bpf.SkBuff) -> int:
    """Packets that are too short end with the error verdict, which keeps nothing either."""
    if skb.load(be16, 12) == bpf.ETH_P_IP:
        proto_count[skb.load(u8, bpf.ETH_HLEN + 9)] += 1
    return 0
