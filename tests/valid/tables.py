"""Pieces that use maps: counters, limits, flows, networks, queues, histograms."""

from __future__ import annotations

from tests.valid.pieces import note, notes, piece
from tests.valid.writer import Writer


@piece
def count_by_key(w: Writer) -> None:
    """A number for each key, in one of the ways to write it."""
    key, hi = w.number()
    counts = w.declare("counts", "bpf.HashMap[u32, u64](max_entries=256)")
    key = key if hi < 2**32 else f"u32({key})"
    way = w.rng.randrange(5)
    if way == 0:
        found = w.fresh("found", "count")
        w.emit(f"{found} = {counts}.get({key})")
        with w.block(w.pick(f"if {found} is None:", f"if not {found}:")):
            w.emit(f"{counts}.update({key}, 1)")
        with w.block("else:"):
            w.emit(f"{counts}[{key}] = {found} + {w.pick('1', f'len({w.ctx})')}")
    elif way == 1:
        with w.block("try:"):
            w.emit(f"{counts}[{key}] += 1")
        with w.block("except KeyError:"):
            w.emit(f"{counts}[{key}] = {w.pick('1', '0')}")
            if w.chance(50):
                note(w)
    elif way == 2:
        with w.block(f"if {key} in {counts}:"):
            w.emit(f"{counts}[{key}] += 1")
        with w.block("else:"):
            w.emit(f"{counts}.update({key}, 1, bpf.BPF_NOEXIST)")
    elif way == 3:
        w.emit(f"{counts}[{key}] = {counts}.get({key}, {w.pick('0', '10')}) + 1")
    else:
        with w.block(f"if (old := {counts}.get({key})) is not None and old > {w.rng.randrange(5)}:"):
            w.emit(w.pick(f"del {counts}[{key}]", f"{counts}.delete({key})", f"{counts}[{key}] = 0"))
        with w.block("else:"):
            w.emit(f"{counts}[{key}] = 1")


@piece
def statistics(w: Writer) -> None:
    """A struct of numbers for each key, changed in place."""
    w.struct("Stats")
    stats = w.declare(
        "stats",
        w.pick("bpf.HashMap[u32, Stats](max_entries=64)", "bpf.LruHashMap[u32, Stats](max_entries=4096)"),
    )
    entry, key = w.fresh("entry", "mine"), w.index(64)
    size = f"len({w.ctx})"
    w.emit(f"{entry} = {stats}.get({key})")
    with w.block(f"if {entry} is None:"):
        given = w.pick(f"packets=1, octets={size}, least={size}, greatest={size}", f"packets=1, least={size}")
        if w.chance(50):
            w.emit(f"{stats}[{key}] = Stats({given})")
            with w.block("if True:") if w.chance(10) else w.block(f"if {w.condition()}:"):
                w.emit(f"return {w.verdict()}")
        else:
            w.emit(f"{stats}.update({key}, Stats({given}), bpf.BPF_NOEXIST)")
    with w.block("else:"):
        w.emit(f"{entry}.packets += 1", f"{entry}.octets += {size}")
        with w.block(f"if {size} > {entry}.greatest:"):
            w.emit(f"{entry}.greatest = {size}")
        w.emit(f"{entry}.least = min({entry}.least, {size})")
        w.emit(f"{entry}.sizes[{w.index(8)}] {w.pick('=', '+=')} {size}")
        if w.chance(40):
            with w.block(f"if {entry}.octets // {entry}.packets > {w.rng.choice((50, 100))}:"):
                notes(w, 1)


@piece
def average(w: Writer) -> None:
    """A division whose divisor may be zero."""
    w.struct("Stats")
    name = w.declare("rows", "bpf.ArrayMap[u32, Stats](max_entries=16)")
    row, mean = w.fresh("row"), w.fresh("mean", "average")
    w.emit(f"{row} = {name}[{w.index(16)}]")
    w.emit(f"{row}.octets += len({w.ctx})")
    if w.chance(50):
        with w.block("try:"):
            w.emit(f"{mean} = {row}.octets // {row}.packets")
        with w.block("except ZeroDivisionError:"):
            w.emit(f"{mean} = 0")
    else:
        w.emit(f"{mean} = {row}.octets // {row}.packets if {row}.packets else 0")
    w.emit(f"{row}.packets += {w.rng.randrange(1, 4)}")
    w.ints[mean] = 2**64 - 1


@piece
def token_bucket(w: Writer) -> None:
    """A limit of packets by source."""
    w.struct("Bucket")
    buckets = w.declare("buckets", "bpf.HashMap[u32, Bucket](max_entries=64)")
    clock = w.declare("clock", "bpf.Global[u64](0)")
    rate = w.declare("rate", f"bpf.Const[u64]({w.rng.randrange(1, 9)})")
    bucket, key = w.fresh("bucket"), w.index(64)
    w.emit(f"{clock}.value += {w.rng.randrange(3)}", f"now = {clock}.value")
    w.emit(f"{bucket} = {buckets}.get({key})")
    with w.block(f"if {bucket} is None:"):
        w.emit(f"{buckets}[{key}] = Bucket(tokens=2000, time=now)")
    with w.block("else:"):
        w.emit(f"{bucket}.tokens = min(3000, {bucket}.tokens + (now - {bucket}.time) * {rate}.value)")
        w.emit(f"{bucket}.time = now")
        with w.block(f"if {bucket}.tokens < 1000:"):
            w.emit(f"return {w.verdict()}")
        w.emit(f"{bucket}.tokens = {bucket}.tokens - 1000")


@piece
def flows(w: Writer) -> None:
    """Keys that are structs of structs."""
    if not w.take(32):
        return
    w.struct("Flow")
    known = w.declare("known", "bpf.HashMap[Flow, u64](max_entries=64)")
    flow = w.fresh("flow", "key")
    one, _ = w.number(below=2**32)
    two, _ = w.number(below=65536)
    w.emit(
        w.pick(
            f"{flow} = Flow(source={one}, ports=Ports({two}, 53), protocol=17)",
            f"{flow} = Flow(source={one}, target=1, protocol=u8({two}))",
        )
    )
    if w.chance(50):
        with w.block(f"if {flow}.source > {flow}.target:"):
            w.emit(f"{flow}.source, {flow}.target = {flow}.target, {flow}.source")
            w.emit(f"{flow}.ports.target = {two}")
    found = w.fresh("seen_before")
    w.emit(f"{found} = {known}.get({flow}, 0)")
    w.emit(f"{known}.update({flow}, {found} + 1)")
    w.ints[found] = 2**64 - 1


@piece
def networks(w: Writer) -> None:
    """The longest matching prefix."""
    if not w.take(8):
        return
    w.struct("Network")
    routes = w.declare("routes", "bpf.LpmTrie[Network, u32](max_entries=64)")
    address, _ = w.number(below=2**32)
    if w.chance(60):
        w.emit(
            f"{routes}.update(Network(prefixlen={w.rng.choice((8, 16, 24))}, address={address}), {w.rng.randrange(9)})"
        )
    route = w.fresh("route", "hop")
    look = f"Network(prefixlen=32, address={address})"
    if w.chance(50):
        w.emit(f"{route} = {routes}.get({look}, 0)")
    else:
        w.emit(f"{route} = {routes}.get({look})")
        with w.block(f"if {route} is None:"):
            w.emit(f"return {w.verdict()}")
    w.ints[route] = 2**32 - 1


@piece
def queues(w: Writer) -> None:
    """First in, first out, or the reverse."""
    kind = w.pick("Queue", "Stack")
    waiting = w.declare(kind.lower(), f"bpf.{kind}[u32](max_entries={w.rng.choice((2, 4, 16))})")
    text, _ = w.number(below=2**32)
    with w.block("try:"):
        w.emit(f"{waiting}.push({text})")
    with w.block("except OSError:"):
        w.emit(f"{waiting}.push({text}, bpf.BPF_EXIST)" if w.chance(50) else "pass")
    if w.chance(60):
        item = w.fresh("item", "oldest")
        with w.block("try:"):
            w.emit(f"{item} = {waiting}.{w.pick('pop', 'peek')}()")
        with w.block("except IndexError:"):
            w.emit(f"{item} = 0")
        w.ints[item] = 2**32 - 1


@piece
def histogram(w: Writer) -> None:
    """By powers of two."""
    text, _ = w.number()
    kind = w.pick("ArrayMap", "PerCpuArray")
    name = w.declare(f"sizes_{kind.lower()}", f"bpf.{kind}[u32, u64](max_entries=64)")
    if w.chance(60):
        w.emit(f"{name}[bpf.log2({text} + 1)] += 1")
    else:
        slot = w.fresh("slot")
        w.emit(f"{slot} = 0")
        with w.block(f"while {slot} < 31 and ({text}) >> {slot} > 1:"):
            w.emit(f"{slot} += 1")
        w.emit(f"{name}[{slot}] += 1")
        w.ints[slot] = 31


@piece
def sampled(w: Writer) -> None:
    """One packet of so many."""
    number = w.declare("number", "bpf.Global[u64](0)")
    w.emit(f"{number}.value += 1")
    with w.block(f"if {number}.value % {w.rng.choice((2, 3, 4))} == 0:"):
        notes(w)
        if w.chance(40):
            w.emit(f"return {w.verdict()}")


@piece
def walked(w: Writer) -> None:
    """Every element of a map."""
    if "touch" in w.names:
        return
    table = w.declare("ranks", "bpf.ArrayMap[u32, u64](max_entries=16)")
    total = w.declare("total", "bpf.Global[u64](0)")
    w.names.add("touch")
    with w.function("def touch(walked, key, value, state):", {}):
        w.emit(f"{total}.value += key")
        with w.block(f"if key > {w.rng.randrange(16)}:"):
            w.emit("return 1")
        w.emit("return 0")
    w.emit(f"{table}[{w.index(16)}] = {w.rng.randrange(100)}")
    name = w.fresh("visited")
    w.emit(f"{name} = bpf.for_each_map_elem({table}, touch, None, 0)")
