"""XDP: parses up to two VLAN tags, IPv4 or IPv6, TCP or UDP; counts packets and bytes by destination port."""

from __future__ import annotations

import socket

from packet_headers import VLAN_TAGS, Ethernet, Ipv4, Ipv6, Tcp, Udp, Vlan

import pyebpf as bpf
from pyebpf import u16, u64

bpf.license("GPL")


@bpf.struct
class Counter:
    """Traffic to a port."""

    packets: u64
    bytes: u64


port_count = bpf.HashMap[u16, Counter](max_entries=4096)


@bpf.xdp(on_error=bpf.XDP_DROP)
def xdp_parse_ports(ctx: bpf.Xdp) -> int:
    """Packets too short for their headers are dropped; other protocols pass uncounted."""
    kind = ctx.read(Ethernet, 0).kind
    offset = bpf.sizeof(Ethernet)
    for _ in range(2):
        if kind not in VLAN_TAGS:
            break
        kind = ctx.read(Vlan, offset).kind
        offset += bpf.sizeof(Vlan)

    if kind == bpf.ETH_P_IP:
        ip = ctx.read(Ipv4, offset)
        words = ip.version_words & 15
        if words < 5:
            return bpf.XDP_DROP
        protocol = ip.protocol
        offset += words * 4
    elif kind == bpf.ETH_P_IPV6:
        protocol = ctx.read(Ipv6, offset).following
        offset += bpf.sizeof(Ipv6)
    else:
        return bpf.XDP_PASS

    if protocol == socket.IPPROTO_TCP:
        port = ctx.read(Tcp, offset).target
    elif protocol == socket.IPPROTO_UDP:
        port = ctx.read(Udp, offset).target
    else:
        return bpf.XDP_PASS

    counter = port_count.get(port)
    if counter is not None:
        counter.packets += 1
        counter.bytes += len(ctx)
    else:
        port_count.update(port, Counter(packets=1, bytes=len(ctx)), bpf.BPF_NOEXIST)
    return bpf.XDP_PASS
