"""tc: looks the class of a packet up by protocol and destination port; sets its priority and mark."""

from __future__ import annotations

import socket

from packet_headers import Ipv4

import pyebpf as bpf
from pyebpf import be16, u8, u16, u32, u64

bpf.license("GPL")

FRAGMENT_OFFSET = 0x1FFF


@bpf.struct
class Service:
    """What a class is looked up by."""

    port: u16
    protocol: u8
    pad: u8 = 0


@bpf.struct
class TrafficClass:
    """What packets of a class get, and how many there were."""

    priority: u32
    mark: u32
    packets: u64


classes = bpf.HashMap[Service, TrafficClass](max_entries=1024)


@bpf.tc
def tc_classify(skb: bpf.SkBuff) -> int:
    """Fragments and other protocols are left alone; packets too short for their headers are dropped."""
    if skb.protocol != bpf.htons(bpf.ETH_P_IP):
        return bpf.TC_ACT_OK
    ip = skb.load(Ipv4, bpf.ETH_HLEN)
    if ip.protocol not in (socket.IPPROTO_TCP, socket.IPPROTO_UDP) or ip.fragment & FRAGMENT_OFFSET:
        return bpf.TC_ACT_OK
    port = skb.load(be16, bpf.ETH_HLEN + (ip.version_words & 15) * 4 + 2)
    found = classes.get(Service(port=port, protocol=ip.protocol))
    if found is not None:
        skb.priority = found.priority
        skb.mark = found.mark
        found.packets += 1
    return bpf.TC_ACT_OK
