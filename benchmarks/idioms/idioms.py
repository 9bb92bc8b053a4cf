"""The checks that the kernel's verifier asks for, as a Python program has them: beside ``idioms.bpf.c``, by name."""

from __future__ import annotations

import socket

import pyebpf as bpf
from pyebpf import be16, u8, u16, u32, u64

bpf.license("GPL")


@bpf.struct
class Pair:
    """A value with two counters."""

    packets: u64
    bytes: u64


@bpf.struct
class Slots:
    """A value with a table in it."""

    count: list[int] = bpf.array(u64, 48)


@bpf.struct
class Key:
    """A key with padding."""

    port: u16
    length: u32


@bpf.struct
class Event:
    """A record."""

    length: u32
    kind: u32


counts = bpf.HashMap[u32, u64](max_entries=64)
pairs = bpf.HashMap[u32, Pair](max_entries=64)
tables = bpf.HashMap[u32, Slots](max_entries=64)
keyed = bpf.HashMap[Key, u64](max_entries=64)
array = bpf.ArrayMap[u32, u64](max_entries=16)
events = bpf.RingBuf(1 << 12)
others = bpf.ProgArray(max_entries=4)
limit = bpf.Const[u32](60)
seen = bpf.Global[u64](0)


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def lookup_tested(ctx: bpf.Xdp) -> int:
    """What a lookup finds may be nothing."""
    found = counts.get(ctx.rx_queue_index)
    return bpf.XDP_PASS if found is None else bpf.XDP_DROP


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def missing_key(ctx: bpf.Xdp) -> int:
    """A key that is missing is an error."""
    counts[ctx.rx_queue_index] += 1
    return bpf.XDP_PASS


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def field_of_optional(ctx: bpf.Xdp) -> int:
    """A field of what may be nothing."""
    found = pairs.get(ctx.rx_queue_index)
    if found is None:
        return bpf.XDP_PASS
    found.packets += 1
    found.bytes += len(ctx)
    return bpf.XDP_DROP


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def record_tested(ctx: bpf.Xdp) -> int:
    """There may be no room for a record."""
    with events.reserve(Event) as event:
        if event is None:
            return bpf.XDP_DROP
        event.length = len(ctx)
        event.kind = 1
    return bpf.XDP_PASS


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def record_released(ctx: bpf.Xdp) -> int:
    """A record goes back on every way out."""
    with events.reserve(Event) as event:
        if event is None:
            return bpf.XDP_DROP
        event.length = ctx.read(u16, 12)
        event.kind = ctx.read(u8, 14)
    return bpf.XDP_PASS


@bpf.tc(on_error=bpf.TC_ACT_SHOT)
def reloaded(skb: bpf.SkBuff) -> int:
    """What changes the packet invalidates what points into it."""
    before = skb.read(u8, 23)
    bpf.skb_pull_data(skb, 42)
    return bpf.TC_ACT_OK if skb.read(u8, 23) == before else bpf.TC_ACT_SHOT


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def key_zeroed(ctx: bpf.Xdp) -> int:
    """Every byte of a key is initialised, its padding too."""
    return bpf.XDP_DROP if Key(port=ctx.read(be16, 36), length=7) in keyed else bpf.XDP_PASS


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def index_checked(ctx: bpf.Xdp) -> int:
    """An index from outside, into a value of a map."""
    found = tables.get(0)
    if found is None:
        return bpf.XDP_PASS
    found.count[ctx.read(u8, 0)] += 1
    return bpf.XDP_DROP


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def index_tested(ctx: bpf.Xdp) -> int:
    """The same, with the program's own test."""
    found = tables.get(0)
    if found is None:
        return bpf.XDP_PASS
    index = ctx.read(u8, 0)
    if index >= 48:
        return bpf.XDP_TX
    found.count[index] += 1
    return bpf.XDP_DROP


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def index_masked(ctx: bpf.Xdp) -> int:
    """A mask is a check."""
    found = tables.get(0)
    if found is None:
        return bpf.XDP_PASS
    found.count[ctx.rx_queue_index & 31] += 1
    return bpf.XDP_DROP


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def index_signed(ctx: bpf.Xdp) -> int:
    """A difference may be negative."""
    found = tables.get(0)
    if found is None:
        return bpf.XDP_PASS
    index = ctx.read(u8, 0) - 10
    if index < 0 or index >= 48:
        return bpf.XDP_TX
    found.count[index] += 1
    return bpf.XDP_DROP


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def index_constant(ctx: bpf.Xdp) -> int:
    """A constant index needs no check."""
    found = tables.get(0)
    if found is None:
        return bpf.XDP_PASS
    found.count[47] += 1
    return bpf.XDP_DROP


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def least(ctx: bpf.Xdp) -> int:
    """``min`` is a check."""
    found = tables.get(0)
    if found is None:
        return bpf.XDP_PASS
    found.count[min(ctx.rx_queue_index, 47)] += 1
    return bpf.XDP_DROP


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def array_element(ctx: bpf.Xdp) -> int:
    """An element of an array map, whose index is known to be there."""
    array[ctx.rx_queue_index & 15] += 1
    return bpf.XDP_PASS


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def headers_checked(ctx: bpf.Xdp) -> int:
    """Each read of the packet is within its bounds."""
    if ctx.read(be16, 12) != bpf.ETH_P_IP or ctx.read(u8, 23) != socket.IPPROTO_UDP:
        return bpf.XDP_PASS
    return bpf.XDP_DROP if ctx.read(be16, 36) == 53 else bpf.XDP_PASS


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def variable_offset(ctx: bpf.Xdp) -> int:
    """A header whose place depends on another one."""
    transport = 14 + (ctx.read(u8, 14) & 15) * 4
    return bpf.XDP_DROP if ctx.read(be16, transport + 2) == 53 else bpf.XDP_PASS


@bpf.tc(on_error=bpf.TC_ACT_SHOT)
def length_clamped(skb: bpf.SkBuff) -> int:
    """A length that a helper takes is within the buffer."""
    data = bpf.chars(32)
    count = min(len(skb), 32)
    if count > 0 and bpf.skb_load_bytes(skb, 0, data, count) == 0:
        first: int = data[0]
        return first
    return bpf.TC_ACT_SHOT


@bpf.tc(on_error=bpf.TC_ACT_SHOT)
def buffer_sized(skb: bpf.SkBuff) -> int:
    """A buffer is as large as what a helper writes."""
    address = skb.load_bytes(26, 8)
    return bpf.TC_ACT_OK if address[0] == address[4] else bpf.TC_ACT_SHOT


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def divided(ctx: bpf.Xdp) -> int:
    """A divisor may be zero."""
    return bpf.XDP_PASS if len(ctx) // ctx.rx_queue_index > 3 else bpf.XDP_DROP


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def loop_bounded(ctx: bpf.Xdp) -> int:
    """A loop has a bound that the verifier sees."""
    total = 0
    for i in range(20):
        total += ctx.read(u8, 14 + i)
    return bpf.XDP_DROP if total > 1000 else bpf.XDP_PASS


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def callback_result(ctx: bpf.Xdp) -> int:
    """A callback tells whether to go on."""

    def body(i: u32) -> bool:
        return i == 5

    return bpf.XDP_DROP if bpf.loop(100, body) == 6 else bpf.XDP_PASS


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def shared_counter(ctx: bpf.Xdp) -> int:
    """What several CPUs change is changed atomically; a constant is known."""
    seen.value += len(ctx)
    return bpf.XDP_DROP if len(ctx) > limit.value else bpf.XDP_PASS


@bpf.global_function
def judged(pair: Pair) -> u32:
    """Is verified on its own."""
    return u32(pair.packets > pair.bytes)


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def global_memory(ctx: bpf.Xdp) -> int:
    """A function that is verified on its own may get memory."""
    pair = Pair(packets=len(ctx), bytes=ctx.rx_queue_index)
    return bpf.XDP_DROP if judged(pair) else bpf.XDP_PASS


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def tail_called(ctx: bpf.Xdp) -> int:
    """A tail call that fails comes back."""
    return others[ctx.rx_queue_index & 3](ctx)
