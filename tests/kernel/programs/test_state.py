"""Programs that keep state: connections, rates, histograms, globals, tail calls, tries, callbacks."""

from __future__ import annotations

import os
import struct

import pytest

import pyebpf as bpf
from pyebpf import be16, be32, i64, u8, u16, u32, u64
from pyebpf.driver import compile_programs
from tests.kernel.programs.frames import ethernet, ipv4, tcp, udp

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")

bpf.license("GPL")


# ---------------------------------------------------------------- connection tracking


@bpf.struct
class Connection:
    """Both ends, the smaller address first."""

    low: be32
    high: be32
    low_port: be16
    high_port: be16
    protocol: u8


@bpf.struct
class Traffic:
    """What a connection has seen; index 1 counts the direction from the smaller address."""

    packets: list[int] = bpf.array(u64, 2)
    octets: list[int] = bpf.array(u64, 2)
    flags: u8
    first: u32


connections = bpf.HashMap[Connection, Traffic](max_entries=8)
refused = bpf.Global[u64](0)


@bpf.tc(on_error=99)
def track(skb: bpf.SkBuff) -> int:
    """Count by connection and direction; a connection begins with a SYN."""
    if skb.load(be16, 12) != 0x800 or skb.load(u8, 23) != 6:
        return 1
    start = 14 + (skb.load(u8, 14) & 15) * 4
    source, target = skb.load(be32, 26), skb.load(be32, 30)
    one, two = skb.load(be16, start), skb.load(be16, start + 2)
    flags = skb.load(u8, start + 13)
    key = Connection(protocol=6)  # type: ignore[call-arg]  # what is left out is zero
    forward = source < target
    if forward:
        key.low, key.high = source, target
        key.low_port, key.high_port = one, two
    else:
        key.low, key.high = target, source
        key.high_port, key.low_port = one, two
    found = connections.get(key)
    if found is None:
        if not flags & 2:
            refused.value += 1
            return 2
        try:
            connections[key] = Traffic(first=len(skb))  # type: ignore[call-arg]  # what is left out is zero
        except OSError:
            return 3
        found = connections.get(key)
        if found is None:
            return 4
    found.packets[forward] += 1
    found.octets[forward] += len(skb)
    found.flags = found.flags | flags
    return 0


def test_connection_tracking() -> None:
    """Both directions fall on one entry; without a SYN there is none; a full map refuses."""

    def run(source: str, target: str, one: int, two: int, flags: int) -> int:
        return track.run(
            ethernet(0x800, ipv4(6, tcp(one, two, flags=flags), source=source, target=target))
        ).verdict

    assert run("10.0.0.1", "10.0.0.2", 1000, 80, 0x10) == 2
    assert run("10.0.0.1", "10.0.0.2", 1000, 80, 0x02) == 0
    assert run("10.0.0.2", "10.0.0.1", 80, 1000, 0x12) == 0
    assert run("10.0.0.1", "10.0.0.2", 1000, 80, 0x10) == 0
    assert refused.value == 1
    ((key, seen),) = connections.items()
    assert (key.low, key.high, key.low_port, key.high_port) == (0x0A000001, 0x0A000002, 1000, 80)
    assert tuple(seen.packets) == (1, 2)
    assert tuple(seen.octets) == (54, 108)
    assert (seen.flags, seen.first) == (0x12, 54)
    verdicts = [run("10.0.0.1", "10.0.0.2", 2000 + n, 80, 2) for n in range(8)]
    assert verdicts == [0] * 7 + [3]
    assert track.run(ethernet(0x800, ipv4(6, b"\0\0"))).verdict == 99


# ---------------------------------------------------------------- a token bucket


@bpf.struct
class Bucket:
    """Tokens, in thousandths, and when they were last filled up."""

    tokens: u64
    time: u64


clock = bpf.Global[u64](0)
rate = bpf.Const[u64](2)
buckets = bpf.HashMap[u32, Bucket](max_entries=4)


@bpf.xdp
def limit(ctx: bpf.Xdp) -> int:
    """Each source may send a burst of three packets, then ``rate`` packets per tick of the clock."""
    source = ctx.read(be32, 26)
    now = clock.value
    bucket = buckets.get(source)
    if bucket is None:
        buckets[source] = Bucket(tokens=2000, time=now)
        return bpf.XDP_PASS
    bucket.tokens = min(3000, bucket.tokens + (now - bucket.time) * rate.value * 1000)
    bucket.time = now
    if bucket.tokens < 1000:
        return bpf.XDP_DROP
    bucket.tokens = bucket.tokens - 1000
    return bpf.XDP_PASS


def test_token_bucket() -> None:
    """The burst, the limit, the refill, and that it is by source."""

    def run(source: str) -> bool:
        return limit.run(ethernet(0x800, ipv4(17, udp(1, 2), source=source))).verdict == bpf.XDP_PASS

    assert [run("10.0.0.1") for _ in range(5)] == [True, True, True, False, False]
    assert run("10.0.0.9")
    clock.value += 1
    assert [run("10.0.0.1") for _ in range(4)] == [True, True, False, False]
    clock.value += 100
    assert [run("10.0.0.1") for _ in range(4)] == [True, True, True, False]


# ---------------------------------------------------------------- a histogram

sizes = bpf.PerCpuArray[u32, u64](max_entries=16)


@bpf.xdp
def histogram(ctx: bpf.Xdp) -> int:
    """Frames by the logarithm of their length."""
    sizes[min(15, bpf.log2(len(ctx)))] += 1
    return bpf.XDP_PASS


def test_histogram() -> None:
    """Three lengths."""
    for length in (64, 100, 127, 128, 1000):
        histogram.run(bytes(length))
    assert [sizes.total(n) for n in range(16)] == [0] * 6 + [3, 1, 0, 1] + [0] * 6


# ---------------------------------------------------------------- tail calls

stages = bpf.ProgArray(max_entries=4)
trace = bpf.Global[u64](0)


@bpf.tc
def stage_two(skb: bpf.SkBuff) -> int:
    """The end of the chain."""
    trace.value = trace.value * 10 + 2
    return 7 + skb.cb[0]


@bpf.tc
def stage_one(skb: bpf.SkBuff) -> int:
    """Hand on with a number in the control block."""
    trace.value = trace.value * 10 + 1
    skb.cb[0] = 5
    return stages[skb.load(u8, 0) & 7](skb)


@bpf.tc
def stage_zero(skb: bpf.SkBuff) -> int:
    """The entry; a missing stage is answered here."""
    trace.value = 9
    try:
        return stages[1](skb)
    except KeyError:
        return 55


def test_tail_calls() -> None:
    """A chain, and slots that are empty or outside."""
    assert stage_zero.run(bytes(64)).verdict == 55
    stages[1] = stage_one
    stages[2] = stage_two
    assert stage_zero.run(bytes([2]) + bytes(63)).verdict == 12
    assert trace.value == 912
    assert stage_zero.run(bytes([3]) + bytes(63)).verdict == bpf.TC_ACT_SHOT
    assert stage_zero.run(bytes([7]) + bytes(63)).verdict == bpf.TC_ACT_SHOT


# ---------------------------------------------------------------- tries


@bpf.struct
class Prefix:
    """An IPv4 network."""

    prefixlen: u32
    address: list[int] = bpf.array(u8, 4)


@bpf.struct
class Route:
    """Where it leads."""

    hop: u32
    metric: u16


routes = bpf.LpmTrie[Prefix, Route](max_entries=16)


@bpf.xdp
def route(ctx: bpf.Xdp) -> int:
    """The metric of the best route, plus 1000 for its hop."""
    key = Prefix(prefixlen=32)  # type: ignore[call-arg]  # what is left out is zero
    for i in range(4):
        key.address[i] = ctx.read(u8, 30 + i)
    found = routes.get(key)
    if found is None:
        return 0
    return found.hop * 1000 + found.metric


def test_routes() -> None:
    """The longest prefix wins."""
    for text, length, hop, metric in (
        ("10.0.0.0", 8, 1, 10),
        ("10.1.0.0", 16, 2, 20),
        ("10.1.2.3", 32, 3, 30),
    ):
        routes[Prefix(length, [int(p) for p in text.split(".")])] = Route(hop, metric)

    def run(target: str) -> int:
        return route.run(ethernet(0x800, ipv4(17, udp(1, 2), target=target))).verdict

    assert [run(t) for t in ("10.9.9.9", "10.1.9.9", "10.1.2.3", "11.0.0.1")] == [1010, 2020, 3030, 0]


# ---------------------------------------------------------------- callbacks


@bpf.tc(on_error=33)
def needle(skb: bpf.SkBuff) -> int:
    """Where the bytes ``ab`` first are, and how many bytes were compared, from nested callbacks."""
    first: i64 = -1
    rounds = 0

    def look(position: u32) -> bool:
        nonlocal first

        def differs(i: u32) -> bool:
            nonlocal rounds
            rounds += 1
            return skb.load(u8, position + i) != 97 + i

        if bpf.loop(2, differs) == 2 and skb.load(u8, position + 1) == 98:
            first = position
        return first >= 0

    length = len(skb)
    if length > 2000:
        return 0
    bpf.loop(length - 1, look)
    return rounds * 1000 + first + 1


def test_callbacks() -> None:
    """Nothing, something after a false start."""
    assert needle.run(bytes(64)).verdict == 63_000
    assert needle.run(bytes(20) + b"aab" + bytes(40)).verdict == 24_022


# ---------------------------------------------------------------- variables of both sides


@bpf.struct
class Totals:
    """Counters in a global struct."""

    packets: u64
    lengths: list[int] = bpf.array(u32, 4)


totals = bpf.Global[Totals]()
threshold = bpf.Const[u32](100)
threshold.value = 70
debug = False


@bpf.noinline
def note(length: u32, slot: u32) -> None:
    """A subprogram that changes globals."""
    totals.value.packets += 1
    totals.value.lengths[slot & 3] = length


@bpf.xdp
def count_all(ctx: bpf.Xdp) -> int:
    """Counts, and drops what is longer than the threshold."""
    if debug:
        print(f"{len(ctx)} {ctx.wrong}")  # type: ignore[attr-defined]  # never compiled
    note(len(ctx), len(ctx) >> 6)
    return bpf.XDP_DROP if len(ctx) > threshold.value else bpf.XDP_PASS


def test_globals() -> None:
    """Structs in .bss, constants set before loading, a constant condition."""
    assert [count_all.run(bytes(n)).verdict for n in (64, 71, 200)] == [2, 1, 1]
    assert totals.value.packets == 3
    assert tuple(totals.value.lengths) == (0, 71, 0, 200)


# ---------------------------------------------------------------- arrays of subprograms


@bpf.noinline
def permuted(first: u32, second: u32) -> int:
    """An element of an array in the subprogram's own frame, stored and read by variable indexes."""
    table = bpf.array(u32, 16)
    table[first & 15] = 7
    table[second & 15] += 2
    found: int = table[first & 15]
    return found


@bpf.xdp
def in_subprogram(ctx: bpf.Xdp) -> int:
    """The verifier must follow the access in the right frame; this one has no such array."""
    return permuted(ctx.read(u8, 0), ctx.read(u8, 1))


def test_arrays_of_subprograms() -> None:
    """Two places, and twice the same."""
    assert in_subprogram.run(bytes([3, 4]) + bytes(62)).verdict == 7
    assert in_subprogram.run(bytes([3, 3]) + bytes(62)).verdict == 9


def test_every_stage_is_verified() -> None:
    """The SSA is well-formed after every pass."""
    for program in (track, limit, histogram, stage_zero, stage_one, route, needle, count_all):
        compile_programs([program.__bpf__], check=True)
    assert struct.calcsize("IH") == 6
