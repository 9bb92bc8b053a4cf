"""Frames to run programs on: Ethernet, VLAN tags, IPv4, IPv6, TCP, UDP, DNS."""

from __future__ import annotations

import struct

MACS = bytes(range(0x10, 0x1C))


def ethernet(kind: int, payload: bytes, *tags: int) -> bytes:
    """A frame with 802.1Q tags (VLAN numbers, the outermost first)."""
    head = MACS
    for tag in tags:
        head += struct.pack("!HH", 0x8100, tag)
    return head + struct.pack("!H", kind) + payload


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(
    protocol: int,
    payload: bytes,
    *,
    source: str = "10.0.0.1",
    target: str = "10.0.0.2",
    options: bytes = b"",
    ttl: int = 64,
) -> bytes:
    """An IPv4 packet with a valid header checksum."""
    words = 5 + len(options) // 4
    addresses = bytes(int(p) for p in f"{source}.{target}".split("."))
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, words * 4 + len(payload), 1, 0, ttl, protocol, 0)
    head += addresses + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv6(following: int, payload: bytes) -> bytes:
    """An IPv6 packet."""
    return struct.pack("!IHBB", 6 << 28, len(payload), following, 64) + bytes(range(32)) + payload


def tcp(source: int, target: int, *, flags: int = 0x10, options: bytes = b"", payload: bytes = b"") -> bytes:
    """A TCP segment without a checksum."""
    words = 5 + len(options) // 4
    return struct.pack("!HHIIBBHHH", source, target, 1, 2, words << 4, flags, 100, 0, 0) + options + payload


def udp(source: int, target: int, payload: bytes = b"") -> bytes:
    """A UDP datagram without a checksum."""
    return struct.pack("!HHHH", source, target, 8 + len(payload), 0) + payload


def dns(name: str) -> bytes:
    """A DNS query for a name."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)
