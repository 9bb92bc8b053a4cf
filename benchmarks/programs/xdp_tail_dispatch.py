"""XDP: hands IPv4 packets to a program for their protocol by tail calls, and counts by program."""

from __future__ import annotations

from packet_headers import Ethernet, Ipv4, Tcp, Udp

import pyebpf as bpf
from pyebpf import u32, u64

bpf.license("GPL")

TRANSPORT = bpf.sizeof(Ethernet) + bpf.sizeof(Ipv4)
OTHER, ICMP, TCP, UDP = range(4)
SSH, DNS = 22, 53

handlers = bpf.ProgArray(max_entries=256)
counts = bpf.PerCpuArray[u32, u64](max_entries=4)


@bpf.xdp(on_error=bpf.XDP_PASS)
def xdp_dispatch(ctx: bpf.Xdp) -> int:
    """Protocols without a program are counted here."""
    if ctx.read(Ethernet, 0).kind != bpf.ETH_P_IP:
        return bpf.XDP_PASS
    try:
        return handlers[ctx.read(Ipv4, bpf.ETH_HLEN).protocol](ctx)
    except KeyError:
        counts[OTHER] += 1
    return bpf.XDP_PASS


@bpf.xdp
def handle_icmp(ctx: bpf.Xdp) -> int:
    """All dropped."""
    counts[ICMP] += 1
    return bpf.XDP_DROP


@bpf.xdp(on_error=bpf.XDP_DROP)
def handle_tcp(ctx: bpf.Xdp) -> int:
    """All but SSH passes."""
    tcp = ctx.read(Tcp, TRANSPORT)
    counts[TCP] += 1
    return bpf.XDP_DROP if tcp.target == SSH else bpf.XDP_PASS


@bpf.xdp(on_error=bpf.XDP_DROP)
def handle_udp(ctx: bpf.Xdp) -> int:
    """Only DNS passes."""
    udp = ctx.read(Udp, TRANSPORT)
    counts[UDP] += 1
    return bpf.XDP_PASS if udp.target == DNS else bpf.XDP_DROP
