"""The frames that the programs are run on. Everything that no program looks at is fixed, so runs are comparable."""

from __future__ import annotations

import socket
import struct
from typing import Final

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
IPV4, IPV6, VLAN, QINQ, ARP = 0x0800, 0x86DD, 0x8100, 0x88A8, 0x0806

_MACS: Final = bytes.fromhex("525400aabb01525400aabb02")
_CLIENT: Final = "172.16.4.20"
_SERVER: Final = "198.51.100.9"


def frame(kind: int, payload: bytes, *tags: tuple[int, int]) -> bytes:
    """An Ethernet frame. ``tags``: pairs of a tag's type and its VLAN number, the outermost first."""
    head = b"".join(struct.pack("!HH", of, number) for of, number in tags)
    return _MACS + head + struct.pack("!H", kind) + payload


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ipv4(
    protocol: int,
    payload: bytes,
    *,
    source: str = _CLIENT,
    options: bytes = b"",
    fragment: int = 0,
    wrong: int = 0,
) -> bytes:
    """An IPv4 packet in a frame. ``wrong`` is added to the right header checksum."""
    words = 5 + len(options) // 4
    addresses = socket.inet_aton(source) + socket.inet_aton(_SERVER)
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, words * 4 + len(payload), 77, fragment, 64, protocol, 0)
    found = checksum(head + addresses + options) + wrong & 0xFFFF
    return frame(IPV4, head[:10] + found.to_bytes(2, "big") + addresses + options + payload)


def ipv6(protocol: int, payload: bytes) -> bytes:
    """An IPv6 packet in a frame."""
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
    return frame(IPV6, head + bytes(range(0x20, 0x40)) + payload)


def tcp(port: int = 80, flags: int = ACK, *, source: int = 51_000, payload: bytes = b"") -> bytes:
    """A TCP segment without a checksum."""
    return struct.pack("!HHIIBBHHH", source, port, 0x1020304, 0x5060708, 5 << 4, flags, 4096, 0, 0) + payload


def udp(port: int = 53, payload: bytes = b"") -> bytes:
    """A UDP datagram without a checksum."""
    return struct.pack("!HHHH", 51_000, port, 8 + len(payload), 0) + payload


def tagged(inner: bytes, *tags: tuple[int, int]) -> bytes:
    """A frame with VLAN tags put in front of its type."""
    (kind,) = struct.unpack_from("!H", inner, 12)
    return frame(kind, inner[14:], *tags)


def text(size: int, word: bytes = b"", at: int = 0) -> bytes:
    """A UDP frame of ``size`` bytes full of letters that begin like ``foobar``, with ``word`` at the offset ``at``."""
    letters = (b"foo fob fooba " * size)[: size - 42]
    whole = ipv4(socket.IPPROTO_UDP, udp(9, letters))
    return whole[:at] + word + whole[at + len(word) :] if word else whole


DATA: Final = bytes(i * 29 + 11 & 0xFF for i in range(44))
ARP_REQUEST: Final = frame(ARP, bytes(46))
SHORT: Final = ipv4(socket.IPPROTO_TCP, tcp())[:20]
TCP4: Final = ipv4(socket.IPPROTO_TCP, tcp(payload=DATA))
TCP6: Final = ipv6(socket.IPPROTO_TCP, tcp(payload=DATA))
UDP4: Final = ipv4(socket.IPPROTO_UDP, udp(payload=DATA))
UDP6: Final = ipv6(socket.IPPROTO_UDP, udp(payload=DATA))
ICMP4: Final = ipv4(socket.IPPROTO_ICMP, struct.pack("!BBHHH", 8, 0, 0, 1, 1) + DATA)
