"""XDP: the Internet checksum over an IPv4 header, and over the 40 bytes of an IPv4 and a TCP header."""

from __future__ import annotations

from packet_headers import Ethernet

import pyebpf as bpf
from pyebpf import u16, u32, u64

bpf.license("GPL")

IP_WORDS = 10
ALL_WORDS = 20


@bpf.struct
class Words:
    """Both headers as they are added up."""

    words: list[int] = bpf.array(u16, ALL_WORDS)


csum_stats = bpf.ArrayMap[u32, u64](max_entries=2)


@bpf.inline
def checksum(header: Words, count: int) -> int:
    """The ones' complement of the ones' complement sum of the first words (RFC 1071)."""
    total: u32 = 0
    for i in range(count):
        total += header.words[i]
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return u16(~total)


@bpf.xdp(on_error=bpf.XDP_DROP)
def xdp_csum40(ctx: bpf.Xdp) -> int:
    """Packets with a wrong IPv4 header checksum, and short ones, are dropped; sums are added up by verdict."""
    header = ctx.read(Words, bpf.ETH_HLEN)
    if ctx.read(Ethernet, 0).kind != bpf.ETH_P_IP:
        return bpf.XDP_PASS
    wrong = checksum(header, IP_WORDS) != 0
    csum_stats[wrong] += checksum(header, ALL_WORDS)
    return bpf.XDP_DROP if wrong else bpf.XDP_PASS
