"""Programs that change packets: checksums in tc, headers in XDP, growing and shrinking, redirecting."""

from __future__ import annotations

import os
import socket

import pytest

import pyebpf as bpf
from pyebpf import be16, be32, u8, u16, u32, u64
from pyebpf.driver import compile_programs
from tests.kernel.programs.frames import checksum, ethernet, ipv4, udp

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")

bpf.license("GPL")


@bpf.tc(on_error=bpf.TC_ACT_SHOT)
def lower_ttl(skb: bpf.SkBuff) -> int:
    """Lower the time to live as a router does, with the kernel's incremental checksum."""
    before = skb.load(u16, 22)  # time to live and protocol, in memory order
    ttl = skb.load(u8, 22)
    if ttl <= 1:
        return bpf.TC_ACT_SHOT
    skb.store(22, ttl - 1, u8)
    bpf.checked(bpf.l3_csum_replace(skb, 24, before, skb.load(u16, 22), 2))
    return bpf.TC_ACT_OK


def test_checksum() -> None:
    """The header's checksum stays right."""
    result = lower_ttl.run(ethernet(0x800, ipv4(17, udp(1, 2, b"data"), ttl=9)))
    assert result.verdict == bpf.TC_ACT_OK
    assert result.data[22] == 8
    assert checksum(result.data[14:34]) == 0
    assert lower_ttl.run(ethernet(0x800, ipv4(17, udp(1, 2), ttl=1))).verdict == bpf.TC_ACT_SHOT


@bpf.struct
class Macs:
    """The addresses of an Ethernet header."""

    target: list[int] = bpf.array(u8, 6)
    source: list[int] = bpf.array(u8, 6)


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def reflect(ctx: bpf.Xdp) -> int:
    """Send a UDP packet back: swap all addresses in place."""
    if ctx.read(be16, 12) != bpf.ETH_P_IP or ctx.read(u8, 23) != socket.IPPROTO_UDP:
        return bpf.XDP_PASS
    macs = ctx.read(Macs, 0)
    for i in range(6):
        macs.target[i], macs.source[i] = macs.source[i], macs.target[i]
    addresses = ctx.read(Pair, 26)
    addresses.one, addresses.two = addresses.two, addresses.one
    ports = ctx.read(Ports, 34)
    ports.one, ports.two = ports.two, ports.one
    return bpf.XDP_TX


@bpf.struct
class Pair:
    """Two addresses."""

    one: be32
    two: be32


@bpf.struct
class Ports:
    """Two ports."""

    one: be16
    two: be16


def test_reflect() -> None:
    """Everything is swapped, nothing else is changed."""
    sent = ethernet(0x800, ipv4(17, udp(1, 2, b"data")))
    result = reflect.run(sent)
    wanted = (
        sent[6:12]
        + sent[:6]
        + sent[12:26]
        + sent[30:34]
        + sent[26:30]
        + sent[36:38]
        + sent[34:36]
        + sent[38:]
    )
    assert (result.verdict, result.data) == (bpf.XDP_TX, wanted)
    assert reflect.run(sent[:36]).verdict == bpf.XDP_ABORTED


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def push_tag(ctx: bpf.Xdp) -> int:
    """Put a VLAN tag in: grow at the front and move the addresses."""
    old = bpf.copy(ctx.read(Macs, 0))
    if ctx.adjust_head(-4) != 0:
        return bpf.XDP_DROP
    new = ctx.read(Macs, 0)
    for i in range(6):
        new.target[i] = old.target[i]
        new.source[i] = old.source[i]
    tag = ctx.read(Ports, 12)
    tag.one = 0x8100
    tag.two = 42
    return bpf.XDP_PASS


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def cut(ctx: bpf.Xdp) -> int:
    """Shorten to 60 bytes."""
    surplus = len(ctx) - 60
    if surplus <= 0:
        return bpf.XDP_PASS
    if ctx.adjust_tail(-surplus):
        return bpf.XDP_DROP
    return bpf.XDP_PASS if len(ctx) == 60 else bpf.XDP_ABORTED


def test_growing_and_shrinking() -> None:
    """A tag at the front, the tail cut off."""
    sent = ethernet(0x800, ipv4(17, udp(1, 2, b"x" * 60)))
    result = push_tag.run(sent)
    assert (result.verdict, result.data) == (bpf.XDP_PASS, sent[:12] + bytes([0x81, 0, 0, 42]) + sent[12:])
    result = cut.run(sent)
    assert (result.verdict, result.data) == (bpf.XDP_PASS, sent[:60])


@bpf.tc
def send_on(skb: bpf.SkBuff) -> int:
    """Out of another interface, by the mark."""
    if skb.mark == 0:
        return bpf.TC_ACT_OK
    return bpf.redirect(skb.mark, 0)


def test_redirect() -> None:
    """The verdict of the helper."""
    assert send_on.run(bytes(64)).verdict == bpf.TC_ACT_OK


@bpf.struct
class Words:
    """A UDP header and eight bytes, as words."""

    word: list[int] = bpf.array(u32, 4)


@bpf.tc(on_error=77)
def fold(skb: bpf.SkBuff) -> int:
    """The Internet checksum of 16 bytes, by the kernel and by hand."""
    words = skb.load(Words, 34)
    total = bpf.csum_diff(None, 0, words, bpf.sizeof(Words), 0)
    if total < 0:
        return 1
    for _ in range(2):
        total = (total & 0xFFFF) + (total >> 16)
    by_hand = 0
    for i in range(8):
        by_hand += skb.load(u16, 34 + 2 * i)
    for _ in range(2):
        by_hand = (by_hand & 0xFFFF) + (by_hand >> 16)
    return bpf.htons(~total & 0xFFFF) if by_hand == total else 2


def test_checksum_of_bytes() -> None:
    """Both agree with Python."""
    sent = ethernet(0x800, ipv4(17, udp(1000, 2000, b"12345678")))
    assert fold.run(sent).verdict == checksum(sent[34:50])


seen = bpf.HashMap[u64, u32](max_entries=64, default=0)


@bpf.tc(on_error=5)
def fingerprint(skb: bpf.SkBuff) -> int:
    """FNV-1a of the first 32 bytes of the payload, in 64 bits that wrap."""
    hashed: u64 = 0xCBF29CE484222325
    for i in range(32):
        hashed = (hashed ^ skb.load(u8, 42 + i)) * 0x100000001B3
    seen[hashed] += 1
    low: u32 = hashed ^ (hashed >> 32)
    return (low ^ (low >> 16)) & 0xFFFF


def test_fingerprint() -> None:
    """As computed in Python."""
    payload = bytes(range(100, 132))
    wanted = 0xCBF29CE484222325
    for byte in payload:
        wanted = (wanted ^ byte) * 0x100000001B3 & ((1 << 64) - 1)
    low = (wanted ^ wanted >> 32) & 0xFFFFFFFF
    sent = ethernet(0x800, ipv4(17, udp(1, 2, payload)))
    assert fingerprint.run(sent).verdict == (low ^ low >> 16) & 0xFFFF
    assert seen[wanted] == 1
    assert fingerprint.run(sent[:60]).verdict == 5


def test_every_stage_is_verified() -> None:
    """The SSA is well-formed after every pass."""
    for program in (lower_ttl, reflect, push_tag, cut, send_on, fold, fingerprint):
        compile_programs([program.__bpf__], check=True)
