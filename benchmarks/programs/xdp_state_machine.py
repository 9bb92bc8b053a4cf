"""XDP: follows the state of TCP connections and drops what does not fit it."""

from __future__ import annotations

import enum
import socket

from packet_headers import Ethernet, Ipv4, Tcp

import pyebpf as bpf
from pyebpf import be16, be32, u32, u64

bpf.license("GPL")

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10


class State(enum.IntEnum):
    """Of a connection."""

    SYN = 1
    SYN_ACK = 2
    ESTABLISHED = 3
    FIN_1 = 4
    FIN_2 = 5
    CLOSED = 6


@bpf.struct
class Flow:
    """Both ends."""

    source: be32
    target: be32
    source_port: be16
    target_port: be16


@bpf.struct
class Connection:
    """What is known of a flow."""

    state: u32
    invalid: u32 = 0
    packets: u64 = 0


conns = bpf.LruHashMap[Flow, Connection](max_entries=65536)


def following(state: int, flags: int) -> int:
    """The state after a packet with these flags. A packet that does not fit is an ``AssertionError``."""
    syn, ack, fin = flags & SYN != 0, flags & ACK != 0, flags & FIN != 0
    if flags & RST:
        return State.CLOSED
    match state:
        case State.SYN:
            assert syn or ack
            if syn:
                return State.SYN_ACK if ack else State.SYN
            return State.ESTABLISHED
        case State.SYN_ACK:
            assert ack and not syn
            return State.ESTABLISHED
        case State.ESTABLISHED:
            assert fin or not syn
            return State.FIN_1 if fin else State.ESTABLISHED
        case State.FIN_1:
            return State.FIN_2 if fin and ack else State.FIN_1
        case State.FIN_2:
            return State.CLOSED if ack else State.FIN_2
        case State.CLOSED:
            assert syn and not ack
            return State.SYN
    return state


@bpf.xdp(on_error=bpf.XDP_PASS)
def xdp_state_machine(ctx: bpf.Xdp) -> int:
    """Short packets and other protocols pass; a connection begins with a SYN."""
    tcp = ctx.read(Tcp, 34)
    ip = ctx.read(Ipv4, bpf.ETH_HLEN)
    if ctx.read(Ethernet, 0).kind != bpf.ETH_P_IP:
        return bpf.XDP_PASS
    if ip.version_words & 15 != 5 or ip.protocol != socket.IPPROTO_TCP:
        return bpf.XDP_PASS
    flow = Flow(ip.source, ip.target, tcp.source, tcp.target)
    found = conns.get(flow)
    if found is None:
        if tcp.flags & (SYN | ACK) != SYN:
            return bpf.XDP_DROP
        conns.update(flow, Connection(state=State.SYN, packets=1), bpf.BPF_ANY)
        return bpf.XDP_PASS
    try:
        found.state = following(found.state, tcp.flags)
    except AssertionError:
        found.invalid = found.invalid + 1
        return bpf.XDP_DROP
    found.packets = found.packets + 1
    return bpf.XDP_PASS
