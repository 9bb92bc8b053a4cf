"""Programs with what the others have little of: objects to release, packets that move, records, callbacks, tail calls."""

from __future__ import annotations

import pyebpf as bpf
from pyebpf import be16, be32, u8, u16, u32, u64

bpf.license("GPL")


@bpf.struct
class Tuple:
    """Both ends of a connection, as the kernel's look-up wants them."""

    saddr: u32
    daddr: u32
    sport: u16
    dport: u16


@bpf.struct
class Seen:
    """What is known of a source."""

    packets: u64
    octets: u64
    last: u32
    ports: list[int] = bpf.array(u16, 4)


@bpf.struct
class Sample:
    """A record for user space."""

    length: u32
    source: u32
    start: bytes = bpf.chars(8)


@bpf.struct(packed=True)
class Option:
    """The start of an option of a header."""

    kind: u8
    length: u8


seen = bpf.HashMap[u32, Seen](max_entries=32)
counts = bpf.ArrayMap[u32, u64](max_entries=8)
limits = bpf.HashMap[u16, u32](max_entries=16)
waiting = bpf.Queue[u32](max_entries=8)
samples = bpf.RingBuf(1 << 12)
chain = bpf.ProgArray(max_entries=4)
lost = bpf.Global[u64](0)


@bpf.tc
def has_listener(skb: bpf.SkBuff) -> int:
    """Whether somebody listens on the port; what was looked up is given back on each path."""
    key = Tuple(
        saddr=skb.load(u32, 26), daddr=skb.load(u32, 30), sport=skb.load(u16, 34), dport=skb.load(u16, 36)
    )
    sk = bpf.skc_lookup_tcp(skb, key, 12, bpf.BPF_F_CURRENT_NETNS, 0)
    if sk is None:
        lost.value += 1
        return bpf.TC_ACT_SHOT
    port = limits.get(443)
    if port is None:
        bpf.sk_release(sk)
        return bpf.TC_ACT_OK
    bpf.sk_release(sk)
    counts[port & 7] += 1
    return bpf.TC_ACT_OK


@bpf.xdp(on_error=bpf.XDP_PASS)
def remember(ctx: bpf.Xdp) -> int:
    """Counters of each source in a map of structs; a new one is inserted."""
    source = ctx.read(u32, 26)
    entry = seen.get(source)
    if entry is None:
        seen.update(
            source, Seen(packets=1, octets=len(ctx), last=0, ports=bpf.array(u16, 4)), bpf.BPF_NOEXIST
        )
        return bpf.XDP_PASS
    entry.packets += 1
    entry.octets += len(ctx)
    slot = entry.packets & 3
    port = ctx.read(be16, 36)
    if entry.ports[slot] == port:
        return bpf.XDP_DROP
    entry.ports[slot] = port
    if entry.packets > 1000:
        del seen[source]
    return bpf.XDP_PASS


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def strip(ctx: bpf.Xdp) -> int:
    """Take a tag out; everything read before the packet moves is copied."""
    kind = ctx.read(be16, 12)
    if kind != 0x8100:
        return bpf.XDP_PASS
    inner = ctx.read(be16, 16)
    high = bpf.copy(ctx.read(Tuple, 0))
    if ctx.adjust_head(4) != 0:
        return bpf.XDP_DROP
    target = ctx.read(Tuple, 0)
    target.saddr = high.saddr
    target.daddr = high.daddr
    target.sport = high.sport
    return bpf.XDP_TX if inner == 0x800 else bpf.XDP_PASS


@bpf.socket_filter(on_error=0)
def sample(skb: bpf.SkBuff) -> int:
    """One packet of eight becomes a record."""
    counts[0] += 1
    if counts[0] & 7:
        return 0
    with samples.reserve(Sample) as record:
        if record is None:
            lost.value += 1
            return 0
        record.length = len(skb)
        record.source = skb.load(be32, 12)
        record.start = skb.load_bytes(20, 8)
    return len(skb)


@bpf.xdp(on_error=bpf.XDP_PASS)
def options(ctx: bpf.Xdp) -> int:
    """Walk the options of a TCP header."""
    end = 54 + (ctx.read(u8, 46) >> 4) * 4 - 20
    at = 54
    found = 0
    for _ in range(40):
        if at >= end:
            break
        kind = ctx.read(u8, at)
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        option = ctx.read(Option, at)
        if option.length < 2:
            raise ValueError("too short")
        if option.kind == 2:
            found = ctx.read(be16, at + 2)
        at += option.length
    try:
        allowed = limits[found & 0xFFFF]
    except KeyError:
        return bpf.XDP_PASS
    return bpf.XDP_DROP if found > allowed else bpf.XDP_PASS


@bpf.noinline
def checksum(words: Seen, start: u32) -> u32:
    """Add up the ports."""
    total: u32 = start
    for i in range(4):
        total += words.ports[i]
    return (total & 0xFFFF) + (total >> 16)


@bpf.tc(on_error=bpf.TC_ACT_SHOT)
def verify(skb: bpf.SkBuff) -> int:
    """A function of our own, an error number, a queue and a division."""
    entry = seen.get(skb.load(u32, 26))
    if entry is None or entry.packets == 0:
        return bpf.TC_ACT_OK
    average = entry.octets // entry.packets
    try:
        waiting.push(u32(average))
    except OSError as error:
        skb.mark = error.errno or 0
        return bpf.TC_ACT_SHOT
    finally:
        counts[1] += 1
    sum16 = checksum(entry, skb.load(be16, 24))
    skb.store(24, sum16 & 0xFFFF, be16)
    skb.cb[1] = sum16
    return bpf.TC_ACT_OK if sum16 != 0xFFFF else bpf.TC_ACT_SHOT


@bpf.tc
def scan(skb: bpf.SkBuff) -> int:
    """A callback that looks at many bytes, then another program."""
    found = 0
    length = len(skb)

    def look(i: u32) -> bool:
        nonlocal found
        if i + 1 >= length:
            return True
        if skb.load(u8, i) == 0x7F:
            found += 1
        return found > 20

    bpf.loop(1500, look)
    if found > 3:
        return chain[found & 3](skb)
    counts[found & 7] += 1
    return bpf.TC_ACT_OK
