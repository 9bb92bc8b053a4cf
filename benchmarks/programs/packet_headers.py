"""The headers that the programs read, as structs. Fields in network order have types that convert on access."""

from __future__ import annotations

import pyebpf as bpf
from pyebpf import be16, be32, u8

VLAN_TAGS = (0x8100, 0x88A8)


@bpf.struct
class Ethernet:
    """An Ethernet header (14 bytes)."""

    target: bytes = bpf.chars(6)
    source: bytes = bpf.chars(6)
    kind: be16


@bpf.struct
class Vlan:
    """What follows the Ethernet type of a tagged frame (4 bytes)."""

    tag: be16
    kind: be16


@bpf.struct
class Ipv4:
    """An IPv4 header without options (20 bytes)."""

    version_words: u8
    service: u8
    total: be16
    number: be16
    fragment: be16
    lifetime: u8
    protocol: u8
    check: be16
    source: be32
    target: be32


@bpf.struct
class Ipv6:
    """An IPv6 header (40 bytes)."""

    version_flow: be32
    payload: be16
    following: u8
    lifetime: u8
    source: bytes = bpf.chars(16)
    target: bytes = bpf.chars(16)


@bpf.struct
class Tcp:
    """A TCP header without options (20 bytes)."""

    source: be16
    target: be16
    sequence: be32
    acknowledged: be32
    words: u8
    flags: u8
    window: be16
    check: be16
    urgent: be16


@bpf.struct
class Udp:
    """A UDP header (8 bytes)."""

    source: be16
    target: be16
    length: be16
    check: be16
