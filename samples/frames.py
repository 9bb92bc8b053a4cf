"""Support for the samples: Ethernet frames of UDP and TCP packets over IPv4 and IPv6, to run programs on."""

from __future__ import annotations

import ipaddress
import socket
import struct

FIN, SYN, RST, ACK = 1, 2, 4, 16
ETHERNET = 14

Address = tuple[str, int]
"""An IP address and a port."""


def _ip(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    """The frame of a packet; addresses of devices are left zero, checksums too."""
    to, by = ipaddress.ip_address(destination), ipaddress.ip_address(source)
    if to.version == 4:
        length = 20 + len(payload)
        header = struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0, 64, protocol, 0)
    else:
        header = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
    kind = 0x0800 if to.version == 4 else 0x86DD
    return bytes(12) + struct.pack("!H", kind) + header + by.packed + to.packed + payload


def udp(source: Address, destination: Address, payload: bytes) -> bytes:
    """One datagram."""
    header = struct.pack("!HHHH", source[1], destination[1], 8 + len(payload), 0)
    return _ip(source[0], destination[0], socket.IPPROTO_UDP, header + payload)


def tcp(source: Address, destination: Address, flags: int) -> bytes:
    """One segment without data."""
    header = struct.pack("!HHIIBBHHH", source[1], destination[1], 0, 0, 5 << 4, flags, 65535, 0, 0)
    return _ip(source[0], destination[0], socket.IPPROTO_TCP, header)


def connection(client: Address, server: Address) -> list[bytes]:
    """A TCP connection that is opened, closed by the client, and reset by a server that never accepted it."""
    return [
        tcp(client, server, SYN),
        tcp(server, client, SYN | ACK),
        tcp(client, server, ACK),
        tcp(client, server, FIN | ACK),
        tcp(server, client, RST | ACK),
    ]


def for_packet_socket(frame: bytes) -> bytes:
    """What to run a socket filter on, so that it sees ``frame`` as on a packet socket, which keeps the Ethernet header:
    a test run takes fourteen bytes off."""
    return bytes(ETHERNET) + frame
