"""Pieces with functions, callbacks, exceptions, records and objects that are made on the way."""

from __future__ import annotations

from tests.valid.pieces import note, notes, piece
from tests.valid.writer import Writer

ERRORS = ("KeyError", "IndexError", "ValueError", "ZeroDivisionError", "AssertionError")
STYLES = ("@bpf.noinline", "@bpf.inline", "@bpf.function")


def _styled(w: Writer) -> tuple[str, ...]:
    return (w.pick(*STYLES),) if w.chance(60) else ()


@piece
def computed(w: Writer) -> None:
    """A function of numbers."""
    name = w.fresh("score", "fold", "clamp", "mix")
    of = w.pick("u32", "u64", "u16", "int")
    with w.function(
        f"def {name}(a: u32, b: u32 = {w.rng.randrange(9)}) -> {of}:",
        {"a": 2**32 - 1, "b": 2**32 - 1},
        *_styled(w),
    ):
        with w.block(f"if {w.condition()}:"):
            w.emit(f"return {w.pick('a', 'b', '0', 'a & 0xFF', 'a >> 3')}")
        if w.chance(60):
            trips = w.trips(64)
            w.emit("n: u32 = 0")
            with w.block(f"for i in range({trips}):", rounds=trips):
                w.emit(f"n += {w.pick('a & i', 'b ^ i', 'i * 3')}")
                with w.block(f"if n > {w.rng.choice((100, 5000))}:"):
                    w.emit("break")
            w.emit("return n")
        else:
            w.emit(f"return {w.pick('a + b', '(a ^ b) & 0xFFFF', 'max(a, b)', 'a * 3 + b', 'a // (b + 1)')}")
    result = w.fresh("result", "points")
    one, _ = w.number(below=2**32)
    two, _ = w.number(below=2**32)
    w.emit(f"{result} = {name}({one}{w.pick('', f', {two}', f', b={two}')})")
    w.ints[result] = 2**64 - 1


@piece
def raising(w: Writer) -> None:
    """A function that raises, and what its caller makes of it."""
    name = w.fresh("require", "checked_size", "lookup")
    limits = w.declare("limits", "bpf.HashMap[u32, u32](max_entries=16)")
    error = w.pick(*ERRORS)
    with w.function(f"def {name}(key: u32) -> u32:", {"key": 2**32 - 1}, *_styled(w)):
        with w.block(f"if {w.condition()}:"):
            w.emit(w.pick(f"raise {error}", f"raise {error}()", "raise OSError(7)"))
        if w.chance(50):
            w.emit(f"assert key < {w.rng.choice((100, 70000))}")
        w.emit(w.pick(f"return {limits}[key]", f"return {limits}.get(key, 3)", "return 100 // (key & 7)"))
    result, (argument, _) = w.fresh("limit_of", "size_of"), w.number(below=2**32)
    with w.block("try:"):
        if w.chance(30):
            note(w)
        w.emit(f"{result} = {name}({argument})")
    way = w.rng.randrange(3)
    if way == 0:
        with w.block("except (KeyError, IndexError):"):
            w.emit(f"{limits}.update({argument}, {w.rng.randrange(50)})", f"{result} = 0")
        with w.block("except Exception:"):
            w.emit(f"return {w.verdict()}")
    elif way == 1:
        with w.block("except LookupError:"):
            w.emit(f"{result} = 1")
        with w.block("except OSError as error:"):
            w.emit(f"{result} = u32(error.errno)")
        with w.block("except:"):
            w.emit(f"{result} = 2")
    else:
        handled = w.pick("Exception", "(ArithmeticError, LookupError, AssertionError, OSError, ValueError)")
        with w.block(f"except {handled}:"):
            notes(w, 1)
            w.emit(f"{result} = 4")
    if w.chance(40):
        with w.block("else:"):
            notes(w, 1)
    if w.chance(40):
        with w.block("finally:"):
            note(w)
    w.ints[result] = 2**32 - 1


@piece
def handled(w: Writer) -> None:
    """Short packets and missing keys, handled where they happen."""
    value = w.fresh("far", "deep")
    text, hi = w.number()
    offset = (
        f"{w.rng.choice((20, 40, 60))} + {text}"
        if hi < 2000
        else f"({text} & {w.rng.choice((15, 63, 255))}) * 4"
    )
    with w.block("try:"):
        w.emit(f"{value} = {w.read(w.pick('u8', 'be16', 'be32', 'u32'), offset)}")
        if w.chance(40):
            with w.block(f"if {value} > {w.rng.choice((100, 5000))}:"):
                w.emit(w.pick("raise ValueError", f"{value} = 0", "raise KeyError"))
    with w.block("except IndexError:"):
        w.emit(f"{value} = 0")
        if w.chance(20):
            w.emit("raise")
    if w.chance(70):
        with w.block("except (ValueError, LookupError):"):
            w.emit(f"{value} = 1")
    w.ints[value] = 2**32 - 1


@piece
def events(w: Writer) -> None:
    """Records for user space."""
    ring = w.declare("events", "bpf.RingBuf(1 << 16)")
    lost = w.declare("lost", "bpf.Global[u64](0)")
    record = w.fresh("event", "record")
    text, _ = w.number(below=2**32)
    compact = w.chance(40)
    name = w.struct("Compact" if compact else "Event")
    with w.block(f"with {ring}.reserve({name}) as {record}:"):
        if w.chance(60):
            with w.block(f"if {record} is None:"):
                w.emit(f"{lost}.value += 1", f"return {w.verdict()}")
            _fill(w, record, text, compact)
        else:
            with w.block(f"if {record} is not None:"):
                _fill(w, record, text, compact)


def _fill(w: Writer, record: str, text: str, compact: bool) -> None:
    w.emit(f"{record}.number = {text}")
    if compact:
        w.emit(f"{record}.kind = u8({text})", f"{record}.port = {w.rng.randrange(65536)}")
        w.emit(f"{record}.sizes[{w.index(3)}] = u16({text})")
        return
    w.emit(f"{record}.length = len({w.ctx})", f"{record}.flow.ports.source = u16({text})")
    if w.chance(50):
        w.emit(f"{record}.flow = Flow(source=u32({text}), protocol=6)")
    if w.kind.copies and w.chance(50):
        w.emit(f"{record}.start = {w.ctx}.load_bytes({w.rng.randrange(20)}, 8)")
    if w.chance(30):
        with w.block(f"if {record}.length > {w.rng.choice((40, 80))}:"):
            w.emit(f"{record}.verdict = {w.rng.randrange(9)}")


@piece
def sent(w: Writer) -> None:
    """A record that is made first and sent then."""
    if not w.take(64):
        return
    ring = w.declare("events", "bpf.RingBuf(1 << 16)")
    name, text = w.fresh("made"), w.number(below=2**32)[0]
    if w.chance(50):
        w.struct("Compact")
        w.emit(
            f"{name} = Compact(kind={w.rng.randrange(256)}, number={text})",
            f"{name}.port = {w.rng.randrange(65536)}",
        )
    else:
        w.struct("Event")
        w.emit(f"{name} = Event(number={text}, length=len({w.ctx}))", f"{name}.flow.source = u32({text})")
    w.emit(w.pick(f"{ring}.output({name})", f"{ring}.output(bpf.copy({name}))"))


@piece
def parts_of_word(w: Writer) -> None:
    """A union: one field is written, another is read."""
    if not w.take(8):
        return
    w.struct("Word")
    word, (text, _) = w.fresh("word_of", "bits_of"), w.number(below=2**32)
    w.emit(f"{word} = Word(whole={text})")
    if w.chance(50):
        w.emit(f"{word}.parts[{w.index(4)}] = {w.rng.randrange(256)}")
    folded = w.fresh("folded", "low")
    w.emit(
        f"{folded} = {w.pick(f'{word}.halves[0] + {word}.halves[1]', f'{word}.parts[{w.index(4)}]', f'{word}.halves[-1]')}"
    )
    w.ints[folded] = 2**17


@piece
def callback(w: Writer) -> None:
    """``bpf.loop`` with a function that shares variables."""
    name, found = w.fresh("look", "body", "visit"), w.fresh("found_in", "count_of")
    second = w.fresh("last_of", "sum_of")
    limit = w.rng.choice((3, 20, 100, 500, 1500))
    shared = w.chance(70)
    w.emit(f"{found} = 0", f"{second}: u32 = 0")
    with w.block(
        f"def {name}(i: u32) -> {w.pick('bool', 'int')}:" if not shared else f"def {name}(i: u32) -> bool:"
    ):
        w.ints = {"i": limit}
        w.emit(f"nonlocal {found}, {second}")
        with w.block(f"if i + {w.rng.choice((1, 20))} >= len({w.ctx}):"):
            w.emit("return True")
        w.emit(f"x = {w.read('u8', 'i')}")
        with w.block(f"if x {w.pick('>', '==', '<')} {w.rng.choice((0, 64, 128))}:"):
            w.emit(f"{found} += 1")
        w.emit(f"{second} = {w.pick('x', f'{second} + x', f'{second} ^ x', 'i')}")
        w.emit(
            f"return {w.pick(f'{found} > {w.rng.randrange(2, 30)}', f'x == {w.rng.randrange(256)}', 'False')}"
        )
    result = w.fresh("rounds")
    w.emit(f"{result} = bpf.loop({w.pick(str(limit), f'min(len({w.ctx}), {limit})')}, {name})")
    w.ints |= {found: limit, second: 2**32 - 1, result: limit}


@piece
def callback_with_state(w: Writer) -> None:
    """``bpf.loop`` with a function of the module and a struct."""
    if not w.take(16) or "gather" in w.names:
        return
    w.names.add("gather")
    w.struct("State")
    hits = w.declare("hits", "bpf.ArrayMap[u32, u64](max_entries=64)")
    with w.function("def gather(i: u32, state: State) -> bool:", {"i": 1000}):
        w.emit(f"x = {hits}[i & 63]")
        with w.block(f"if x > {w.rng.randrange(4)}:"):
            w.emit("state.found += 1", "state.last = i")
        w.emit("state.total += x")
        w.emit(
            f"return {w.pick('False', f'state.found >= {w.rng.randrange(1, 20)}', f'i == {w.rng.randrange(64)}')}"
        )
    state = w.fresh("state_of", "gathered")
    w.emit(f"{state} = State()", f"bpf.loop({w.rng.choice((10, 64, 300))}, gather, {state})")
    w.emit(f"{w.declare('total', 'bpf.Global[u64](0)')}.value += {state}.total + {state}.last")
    result = w.fresh("how_many")
    w.emit(f"{result} = {state}.found")
    w.ints[result] = 1000


@piece
def found_or_none(w: Writer) -> None:
    """A struct in a map or nothing, narrowed in one of several ways."""
    w.struct("Stats")
    stats = w.declare("stats", "bpf.HashMap[u32, Stats](max_entries=64)")
    one, two = w.fresh("one", "mine"), w.fresh("other", "theirs")
    w.emit(f"{one} = {stats}.get({w.index(64)})")
    way = w.rng.randrange(5)
    if way == 0:
        w.emit(f"{two} = {stats}.get({w.index(64)})")
        with w.block(f"if {one} is not None and {two} is not None:"):
            w.emit(f"{one}.packets += {two}.packets")
    elif way == 1:
        with w.block(f"if {one} is None or {one}.packets > {w.rng.randrange(5)}:"):
            note(w)
        with w.block("else:"):
            w.emit(f"{one}.octets += 1")
    elif way == 2:
        w.emit(f"{two} = {one}.packets if {one} is not None else 0")
        w.ints[two] = 2**64 - 1
    elif way == 3:
        with w.block(f"while {one} is None:"):
            w.emit("break")
        with w.block("else:"):
            w.emit(f"{one}.least = 1")
    else:
        with w.block(f"if {one}:"):
            w.emit(f"{one}.sizes[{w.index(8)}] = 9")
        with w.block(f"if not {one}:"):
            w.emit(f"return {w.verdict()}")
        w.emit(f"{one}.packets += 1")


@piece
def best_of(w: Writer) -> None:
    """A number or ``None`` that a loop leaves behind."""
    best, i, x = w.fresh("best_of", "match_at"), w.fresh("i"), w.fresh("x")
    trips = w.trips(100)
    w.emit(f"{best} = None")
    with w.block(f"for {i} in range({trips}):", rounds=trips):
        with w.block(f"if {i} + 1 >= len({w.ctx}):"):
            w.emit("break")
        w.emit(f"{x} = {w.read('u8', i)}")
        with w.block(f"if {x} == {w.rng.choice((0, 1, 255))}:"):
            w.emit(f"{best} = {i}")
            if w.chance(50):
                w.emit("break")
    with w.block(f"if {best} is not None:"):
        w.ints[best] = trips
        notes(w)


@piece
def constant_choices(w: Writer) -> None:
    """Tables of constants."""
    table = w.declare("PORTS", "(22, 80, 443, 8080)")
    text, _ = w.number(below=2**32)
    with w.block(f"for one_of_them in {table}:"), w.block(f"if {text} == one_of_them:"):
        notes(w, 1)
        w.emit("break")
    with w.block("else:"):
        note(w)
    if w.chance(50):
        name = w.fresh("chosen")
        w.emit(f"{name} = {table}[{w.index(4)}]")
        w.ints[name] = 8080


@piece
def classified(w: Writer) -> None:
    """``match``, conditional expressions, several names at once."""
    text, _ = w.number()
    kind, weight = w.fresh("class_of"), w.fresh("weight")
    with w.block(f"match {text}:"):
        with w.block("case 0 | 1:"):
            w.emit(f"{kind}, {weight} = 0, 1")
        with w.block(f"case {w.rng.randrange(2, 60)}:"):
            w.emit(f"{kind}, {weight} = 1, {w.rng.randrange(20)}")
        with w.block(f"case other if other > {w.rng.choice((64, 1000))}:"):
            w.emit(f"{kind} = 2", f"{weight} = {w.pick('3', 'other & 7')}")
        with w.block("case _:"):
            w.emit(f"{kind} = {weight} = 3")
    w.ints |= {kind: 3, weight: 20}


@piece
def context_fields(w: Writer) -> None:
    """What the kernel says of the packet, and what may be written there."""
    name = w.fresh("mark_of", "interface")
    if w.ctx == "ctx":
        w.emit(f"{name} = {w.pick('ctx.ingress_ifindex', 'ctx.rx_queue_index')}")
    elif w.kind.writes:
        text, _ = w.number(below=2**32)
        w.emit(f"{w.pick('skb.mark', 'skb.priority', 'skb.cb[2]')} = {text}")
        w.emit(f"{name} = {w.pick('skb.mark', 'skb.priority', 'skb.cb[2]')}")
    else:
        w.emit(f"{name} = skb.len")
    w.ints[name] = 2**32 - 1
