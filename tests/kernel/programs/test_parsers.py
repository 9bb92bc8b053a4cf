"""Parsers of real protocols, with loops over what the packet says."""

from __future__ import annotations

import os

import pytest

import pyebpf as bpf
from pyebpf import be16, be32, u8, u64
from pyebpf.driver import compile_programs
from tests.kernel.programs.frames import dns, ethernet, ipv4, ipv6, tcp, udp

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")

bpf.license("GPL")


@bpf.struct
class Ipv4:
    """The fixed part of an IPv4 header."""

    version_length: u8
    service: u8
    total: be16
    number: be16
    fragment: be16
    ttl: u8
    protocol: u8
    check: be16
    source: be32
    target: be32


@bpf.struct
class Tcp:
    """The fixed part of a TCP header."""

    source: be16
    target: be16
    sequence: be32
    acknowledged: be32
    length: u8
    flags: u8
    window: be16
    check: be16
    urgent: be16


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def innermost_vlan(ctx: bpf.Xdp) -> int:
    """The number of the innermost of up to three VLAN tags."""
    offset = 12
    vlan = 0
    for _ in range(3):
        kind = ctx.read(be16, offset)
        if kind not in (0x8100, 0x88A8):
            break
        vlan = ctx.read(be16, offset + 2) & 0xFFF
        offset += 4
    return vlan


def test_vlan() -> None:
    """No tag, one, three, and one that is cut off."""
    innermost_vlan.check()
    packet = ipv4(17, udp(1, 2))
    assert innermost_vlan.run(ethernet(0x800, packet)).verdict == 0
    assert innermost_vlan.run(ethernet(0x800, packet, 5)).verdict == 5
    assert innermost_vlan.run(ethernet(0x800, packet, 5, 6, 7)).verdict == 7
    assert innermost_vlan.run(ethernet(0x800, packet, 1, 2, 3, 4)).verdict == 3


@bpf.xdp(on_error=bpf.XDP_DROP)
def ipv4_option(ctx: bpf.Xdp) -> int:
    """The length of the router alert option (RFC 2113), 100 if there is none."""
    words = ctx.read(u8, 14) & 15
    end = 14 + words * 4
    offset = 34
    for _ in range(40):
        if offset >= end:
            break
        kind = ctx.read(u8, offset)
        if kind == 0:
            break
        if kind == 1:
            offset += 1
            continue
        length = ctx.read(u8, offset + 1)
        if length < 2:
            return 200
        if kind == 148:
            return length
        offset += length
    return 100


def test_ipv4_options() -> None:
    """Options of one byte and of several, an end, a malformed one, a short packet."""

    def run(options: bytes) -> int:
        return ipv4_option.run(ethernet(0x800, ipv4(17, udp(1, 2), options=options))).verdict

    assert run(b"") == 100
    assert run(bytes([148, 4, 0, 0])) == 4
    assert run(bytes([1, 1, 7, 3, 0, 148, 5, 0])) == 5
    assert run(bytes([0, 148, 4, 0])) == 100
    assert run(bytes([7, 0, 0, 0])) == 200
    assert ipv4_option.run(ethernet(0x800, b"\x4f" + bytes(19))).verdict == bpf.XDP_DROP
    assert ipv4_option.run(ethernet(0x800, b"\x4f" + bytes(19) + bytes([1, 1, 1]))).verdict == bpf.XDP_DROP


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def ipv6_payload(ctx: bpf.Xdp) -> int:
    """The protocol behind IPv6 extension headers."""
    following = ctx.read(u8, 14 + 6)
    offset = 54
    for _ in range(6):
        match following:
            case 0 | 43 | 60:  # hop-by-hop, routing, destination options
                following = ctx.read(u8, offset)
                offset += (ctx.read(u8, offset + 1) + 1) * 8
            case 44:  # fragment
                following = ctx.read(u8, offset)
                offset += 8
            case 51:  # authentication
                following = ctx.read(u8, offset)
                offset += (ctx.read(u8, offset + 1) + 2) * 4
            case _:
                break
    return following


def test_ipv6_extensions() -> None:
    """A chain of extension headers, and one that is cut off."""
    hop = bytes([43, 0]) + bytes(6)
    routing = bytes([44, 2]) + bytes(22)
    fragment = bytes([51, 0]) + bytes(6)
    authentication = bytes([6, 4]) + bytes(22)
    packet = ethernet(0x86DD, ipv6(0, hop + routing + fragment + authentication + tcp(1, 2)))
    assert ipv6_payload.run(packet).verdict == 6
    assert ipv6_payload.run(ethernet(0x86DD, ipv6(17, udp(1, 2)))).verdict == 17
    assert ipv6_payload.run(ethernet(0x86DD, ipv6(0, b""))).verdict == bpf.XDP_ABORTED


@bpf.function
def tcp_offset(ip: Ipv4) -> int:
    """Where the TCP header starts."""
    return 14 + (ip.version_length & 15) * 4


@bpf.tc(on_error=77)
def maximum_segment(skb: bpf.SkBuff) -> int:
    """The maximum segment size that a SYN offers, 0 if it says nothing."""
    ip = skb.load(Ipv4, 14)
    if ip.protocol != 6:
        return 1
    start = tcp_offset(ip)
    head = skb.load(Tcp, start)
    if not head.flags & 2:
        return 2
    end = start + (head.length >> 4) * 4
    offset = start + 20
    size = 0
    for _ in range(40):
        if offset >= end:
            break
        kind = skb.load(u8, offset)
        if kind == 0:
            break
        if kind == 1:
            offset += 1
        else:
            length = skb.load(u8, offset + 1)
            if kind == 2 and length == 4:
                size = skb.load(be16, offset + 2)
            offset += max(2, length)
    return size


def test_tcp_options() -> None:
    """Options in several orders."""

    def run(segment: bytes) -> int:
        return maximum_segment.run(ethernet(0x800, ipv4(6, segment))).verdict

    assert run(tcp(1, 2, flags=2, options=bytes([2, 4, 5, 0xB4]))) == 1460
    assert run(tcp(1, 2, flags=2, options=bytes([1, 1, 3, 3, 7, 1, 2, 4, 1, 2, 0, 0]))) == 258
    assert run(tcp(1, 2, flags=2, options=bytes([4, 2, 0, 0]))) == 0
    assert run(tcp(1, 2)) == 2
    assert maximum_segment.run(ethernet(0x800, ipv4(6, tcp(1, 2, flags=2))[:-4])).verdict == 77


@bpf.struct
class Name:
    """A DNS name in text form."""

    text: list[int] = bpf.chars(32)


names = bpf.HashMap[Name, u64](max_entries=16, default=0)


@bpf.tc(on_error=0)
def dns_name(skb: bpf.SkBuff) -> int:
    """Count queries by name, up to 31 characters, as text."""
    offset = 14 + 20 + 8 + 12
    name = Name()  # type: ignore[call-arg]  # what is left out is zero
    raw = bpf.array(u8, 32)
    left = skb.load(u8, offset)
    for i in range(31):
        offset += 1
        value = skb.load(u8, offset)
        if left == 0:
            if value == 0:
                break
            raw[i] = 46
            left = value
        else:
            raw[i] = value
            left -= 1
    for i in range(32):
        name.text[i] = raw[i]
    names[name] += 1
    return names[name]


def test_dns_names() -> None:
    """Two names, one of them twice."""
    packets = [
        ethernet(0x800, ipv4(17, udp(1, 53, dns(name))))
        for name in ("example.org", "www.example.org", "example.org")
    ]
    assert [dns_name.run(p).verdict for p in packets] == [1, 1, 2]
    assert {bytes(k.text): v for k, v in names.items()} == {b"example.org": 2, b"www.example.org": 1}


def test_every_stage_is_verified() -> None:
    """The SSA is well-formed after every pass."""
    for program in (innermost_vlan, ipv4_option, ipv6_payload, maximum_segment, dns_name):
        compile_programs([program.__bpf__], check=True)
