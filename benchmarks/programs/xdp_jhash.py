"""XDP: Jenkins' hash of the 5-tuple chooses the slot of a ring of backends."""

from __future__ import annotations

from packet_headers import Ethernet, Ipv4

import pyebpf as bpf
from pyebpf import u32

bpf.license("GPL")

RING_SIZE = 1024
INITIAL = 0xDEADBEEF


@bpf.struct
class Tuple:
    """Addresses and ports as they lie in the packet: the hash takes them in the machine's byte order."""

    source: u32
    target: u32
    ports: u32


ring = bpf.ArrayMap[u32, u32](max_entries=RING_SIZE)


def rotate(word: u32, count: int) -> int:
    """``word`` rotated left by 0 to 31."""
    return u32(word << (count & 31) | word >> (32 - count & 31))


def hash_words(one: u32, two: u32, three: u32, four: u32, seed: u32) -> int:
    """Jenkins' lookup3 of four words, as the kernel has it in linux/jhash.h."""
    a: u32 = INITIAL + 16 + seed
    b: u32 = a + two
    c: u32 = a + three
    a += one
    a = a - c ^ rotate(c, 4)
    c += b
    b = b - a ^ rotate(a, 6)
    a += c
    c = c - b ^ rotate(b, 8)
    b += a
    a = a - c ^ rotate(c, 16)
    c += b
    b = b - a ^ rotate(a, 19)
    a += c
    c = c - b ^ rotate(b, 4)
    b += a
    a += four
    c = (c ^ b) - rotate(b, 14)
    a = (a ^ c) - rotate(c, 11)
    b = (b ^ a) - rotate(a, 25)
    c = (c ^ b) - rotate(b, 16)
    a = (a ^ c) - rotate(c, 4)
    b = (b ^ a) - rotate(a, 14)
    return u32((c ^ b) - rotate(b, 24))


@bpf.xdp(on_error=bpf.XDP_PASS)
def xdp_jhash(ctx: bpf.Xdp) -> int:
    """What is no IPv4 packet without options passes; so does what falls on an empty slot."""
    key = ctx.read(Tuple, 26)
    ip = ctx.read(Ipv4, bpf.ETH_HLEN)
    if ctx.read(Ethernet, 0).kind != bpf.ETH_P_IP or ip.version_words & 15 != 5:
        return bpf.XDP_PASS
    value = hash_words(key.source, key.target, key.ports, ip.protocol, ctx.rx_queue_index)
    return bpf.XDP_TX if ring[value % RING_SIZE] else bpf.XDP_PASS
