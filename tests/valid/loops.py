"""Pieces with loops of many rounds: sums, searches, extremes, machines with states, tables in tables."""

from __future__ import annotations

from tests.valid.pieces import note, notes, piece
from tests.valid.writer import Writer


def _byte(w: Writer, index: str) -> str:
    """A byte of the packet at an index of a loop."""
    start = w.rng.choice((0, 14, 20))
    return w.read("u8", f"{start} + {index}" if start else index)


def _end_of_packet(w: Writer, index: str) -> None:
    """Before the packet is over, most loops ask for its end."""
    if w.chance(75):
        with w.block(f"if {index} + 20 >= len({w.ctx}):"):
            w.emit("break")


@piece
def sum_of_bytes(w: Writer) -> None:
    """A checksum, or a hash."""
    total, trips = w.fresh("total_of", "sum_", "hashed"), w.trips()
    i = w.fresh("i", "offset")
    of = w.pick("u32", "u64", "u16")
    w.emit(f"{total}: {of} = {w.rng.choice((0, 1, 5381))}")
    step = w.rng.choice((1, 1, 2, 4))
    with w.block(f"for {i} in range(0, {trips * step}, {step}):", rounds=trips):
        _end_of_packet(w, i)
        byte = _byte(w, i)
        w.emit(
            w.pick(
                f"{total} += {byte}",
                f"{total} = {total} * 31 + {byte}",
                f"{total} = ({total} ^ {byte}) * 16777619",
                f"{total} = ({total} << 1 | {total} >> 15) ^ {byte}",
            )
        )
    w.emit(f"{total} = ({total} & 0xFFFF) + ({total} >> 16)" if of != "u16" else f"{total} &= 0xFF")
    w.ints[total] = {"u16": 65535, "u32": 2**32 - 1, "u64": 2**64 - 1}[of]


@piece
def classes_of_bytes(w: Writer) -> None:
    """Counters of several kinds, with flags and early ends."""
    trips, i, x = w.trips(), w.fresh("i"), w.fresh("x", "byte")
    names = [w.fresh("letters"), w.fresh("digits"), w.fresh("others"), w.fresh("zeros")][
        : w.rng.randint(2, 4)
    ]
    flag = w.fresh("seen_zero", "bad")
    w.emit(*(f"{name} = 0" for name in names), f"{flag} = False")
    tests = ("97 <= {x} <= 122", "48 <= {x} < 58", "{x} >= 128", "{x} == 0", "{x} & 1", "{x} in (10, 13, 32)")
    chosen = w.rng.sample(tests, len(names))
    with w.block(f"for {i} in range({trips}):", rounds=trips):
        _end_of_packet(w, i)
        w.emit(f"{x} = {_byte(w, i)}")
        word = "if"
        for name, test in zip(names, chosen, strict=True):
            with w.block(f"{word} {test.format(x=x)}:"):
                w.emit(f"{name} += {w.rng.choice((1, 1, 2))}")
                if w.chance(20):
                    w.emit(f"{flag} = True")
            word = w.pick("if", "elif")
        if w.chance(50):
            with w.block(f"if {names[0]} {w.pick('==', '>', '>=')} {w.rng.randrange(2, 40)}:"):
                w.emit(w.pick("break", f"{flag} = True", f"return {w.verdict()}"))
        if w.chance(30):
            with w.block(f"if {flag} and {names[1]} > {w.rng.randrange(1, 20)}:"):
                w.emit("break")
    w.ints |= dict.fromkeys(names, 2 * trips)
    with w.block(f"if {flag} {w.pick('or', 'and')} {names[0]} > {names[1]}:"):
        notes(w)


@piece
def extremes(w: Writer) -> None:
    """The least and the greatest, and where."""
    trips, i, x = w.trips(), w.fresh("i"), w.fresh("x")
    low, high, at = w.fresh("low"), w.fresh("high"), w.fresh("at_", "where")
    w.emit(f"{low} = 255", f"{high} = 0", f"{at} = 0")
    with w.block(f"for {i} in range({trips}):", rounds=trips):
        _end_of_packet(w, i)
        w.emit(f"{x} = {_byte(w, i)}")
        with w.block(f"if {x} < {low}:"):
            w.emit(f"{low} = {x}")
        with w.block(f"{w.pick('if', 'elif')} {x} > {high}:"):
            w.emit(f"{high} = {x}", f"{at} = {i}")
    w.ints |= {low: 255, high: 255, at: trips}


@piece
def longest_run(w: Writer) -> None:
    """Of equal bytes."""
    trips, i, x = w.trips(), w.fresh("i"), w.fresh("x")
    before, run, best = w.fresh("before"), w.fresh("run"), w.fresh("best")
    w.emit(f"{before} = 256", f"{run} = 0", f"{best} = 0")
    with w.block(f"for {i} in range({trips}):", rounds=trips):
        _end_of_packet(w, i)
        w.emit(f"{x} = {_byte(w, i)}")
        with w.block(f"if {x} == {before}:"):
            w.emit(f"{run} += 1")
        with w.block("else:"):
            w.emit(f"{run} = 1")
        w.emit(f"{before} = {x}")
        if w.chance(50):
            w.emit(f"{best} = max({best}, {run})")
        else:
            with w.block(f"if {run} > {best}:"):
                w.emit(f"{best} = {run}")
    w.ints |= {best: trips, run: trips}


@piece
def search(w: Writer) -> None:
    """A word in the payload."""
    needle = w.pick("foo", "GET", "foobar", "ab", "HTTP")
    trips, i, m = w.trips(), w.fresh("i"), w.fresh("matched", "m")
    constant = w.declare(f"NEEDLE_{needle}", f'b"{needle}"')
    w.emit(f"{m} = 0")
    with w.block(f"for {i} in range({trips}):", rounds=trips):
        _end_of_packet(w, i)
        with w.block(f"if {_byte(w, i)} == {constant}[{m}]:"):
            w.emit(f"{m} += 1")
            with w.block(f"if {m} == {len(needle)}:"):
                w.emit(w.pick("break", f"return {w.verdict()}"))
        with w.block("else:"):
            w.emit(f"{m} = 0")
    if w.chance(60):
        with w.block(f"if {m} == {len(needle)}:"):
            notes(w)


@piece
def states(w: Writer) -> None:
    """A machine that goes through bytes."""
    trips, i, x, state = w.trips(), w.fresh("i"), w.fresh("x"), w.fresh("state")
    w.globals.setdefault(
        "Step", "\n\nclass Step(enum.IntEnum):\n    START = 0\n    NAME = 1\n    VALUE = 2\n    END = 3\n\n"
    )
    fields = w.fresh("fields")
    w.emit(f"{state} = Step.START", f"{fields} = 0")
    with w.block(f"for {i} in range({trips}):", rounds=trips):
        _end_of_packet(w, i)
        w.emit(f"{x} = {_byte(w, i)}")
        with w.block(f"match {state}:"):
            with w.block("case Step.START:"), w.block(f"if {x} & {w.rng.choice((1, 64))}:"):
                w.emit(f"{state} = Step.NAME")
            with w.block("case Step.NAME:"):
                with w.block(f"if {x} > {w.rng.choice((60, 128))}:"):
                    w.emit(f"{state} = Step.VALUE", f"{fields} += 1")
                with w.block(f"elif {x} == 0:"):
                    w.emit(f"{state} = Step.START")
            with w.block("case Step.VALUE:"), w.block(f"if {x} < {w.rng.choice((32, 100))}:"):
                w.emit(f"{state} = {w.pick('Step.START', 'Step.END')}")
            with w.block("case _:"):
                w.emit("break")
    w.ints[fields] = trips


@piece
def nested(w: Writer) -> None:
    """Rounds in rounds, with a table beside them."""
    outer = w.trips(40)
    i, j, total = w.fresh("i", "row"), w.fresh("j", "column"), w.fresh("cells", "hits_")
    hits = w.declare("hits", "bpf.ArrayMap[u32, u64](max_entries=64)")
    w.emit(f"{total} = 0")
    with w.block(f"for {i} in range({outer}):", rounds=outer):
        inner = w.trips(60)
        bound = w.pick(str(inner), f"min({i} + 1, {inner})")
        with w.block(f"for {j} in range({bound}):", rounds=inner):
            way = w.rng.randrange(4)
            if way == 0:
                with w.block(f"if {hits}[({i} * 8 + {j}) & 63] > {w.rng.randrange(4)}:"):
                    w.emit(f"{total} += 1")
            elif way == 1:
                with w.block(f"if ({i} ^ {j}) & {w.rng.choice((1, 3))} == 0:"):
                    w.emit("continue")
                w.emit(f"{total} += {i} * {j}")
            elif way == 2:
                w.emit(f"{total} += {w.read('u8', f'({i} + {j}) & 15')}")
            else:
                with w.block(f"if {w.read('u8', f'{j} & 7')} == {i}:"):
                    w.emit(f"{total} += {j}", "break")
        if w.chance(40):
            with w.block(f"if {total} > {w.rng.choice((10, 100, 1000))}:"):
                w.emit(w.pick("break", f"return {w.verdict()}"))
    if w.chance(30):
        with w.block("else:"):
            note(w)
    w.ints[total] = 2**31


@piece
def bits(w: Writer) -> None:
    """Of a number, one by one."""
    text, hi = w.number(below=2**33)
    x, ones = w.fresh("rest", "mask"), w.fresh("ones", "parity")
    w.emit(f"{x}: u32 = {text if hi < 2**32 else f'u32({text})'}", f"{ones} = 0")
    if w.chance(50):
        with w.block(f"while {x}:"):
            if w.chance(50):
                w.emit(f"{ones} += {x} & 1")
            else:
                with w.block(f"if {x} & {w.rng.choice((1, 2))}:"):
                    w.emit(f"{ones} += 1")
            w.emit(f"{x} >>= {w.rng.choice((1, 2))}")
    else:
        with w.block("for _ in range(32):"):
            with w.block(f"if {x} == 0:"):
                w.emit("break")
            w.emit(f"{x} &= {x} - 1" if w.chance(50) else f"{x} = {x} >> 1", f"{ones} += 1")
    w.ints[ones] = 32


@piece
def local_table(w: Writer) -> None:
    """An array of its own: filled, changed, looked through."""
    length = w.rng.choice((4, 8, 16))
    of, size = w.rng.choice((("u8", 1), ("u16", 2), ("u32", 4)))
    if not w.take(length * size):
        return
    table, i = w.fresh("table", "values", "window"), w.fresh("i")
    w.emit(f"{table} = bpf.array({of}, {length})")
    with w.block(f"for {i} in range({length}):", rounds=length):
        w.emit(f"{table}[{i}] = {w.read('u8', f'{i} + {w.rng.randrange(14)}')}")
    way = w.rng.randrange(4)
    if way == 0:  # sorted
        j = w.fresh("j")
        heads = [f"for {i} in range({length}):", f"for {j} in range({length - 1}):"]
        with w.block(heads[0]), w.block(heads[1]), w.block(f"if {table}[{j}] > {table}[{j} + 1]:"):
            w.emit(f"{table}[{j}], {table}[{j} + 1] = {table}[{j} + 1], {table}[{j}]")
        name = w.fresh("median")
        w.emit(f"{name} = {table}[{length // 2}]")
        w.ints[name] = 2 ** (8 * size) - 1
    elif way == 1:  # counted
        trips = w.trips(128)
        with w.block(f"for {i} in range({trips}):", rounds=trips):
            _end_of_packet(w, i)
            w.emit(f"{table}[{_byte(w, i)} % {length}] += 1")
    elif way == 2:  # looked through
        name = w.fresh("largest")
        w.emit(f"{name} = 0")
        with w.block(f"for each in {table}:"):
            w.emit(f"{name} = max({name}, each)")
        w.ints[name] = 2 ** (8 * size) - 1
    else:  # indexed from both ends
        w.emit(f"{table}[{w.index(length)}] = {table}[-1]", f"{table}[-2] ^= {table}[0]")
    w.emit(f"{w.declare('total', 'bpf.Global[u64](0)')}.value += {table}[{w.index(length)}]")


@piece
def steps(w: Writer) -> None:
    """A number that goes its own way."""
    x, count = w.fresh("x", "value"), w.fresh("steps")
    text = w.read("u8", w.rng.randrange(14))
    limit = w.trips(200)
    w.emit(f"{x} = {text} + 1", f"{count} = 0")
    if w.chance(60):
        with w.block(f"for _ in range({limit}):", rounds=limit):
            with w.block(f"if {x} == 1:"):
                w.emit("break")
            with w.block(f"if {x} & 1:"):
                w.emit(f"{x} = 3 * {x} + 1")
            with w.block("else:"):
                w.emit(f"{x} //= 2")
            w.emit(f"{count} += 1")
    else:
        with w.block(f"while {count} < {limit}:", rounds=limit):
            with w.block(f"if {w.read('u8', f'{count} & 15')} > {w.rng.choice((30, 128, 200))}:"):
                w.emit(f"{count} += {w.rng.choice((2, 3))}")
            with w.block("else:"):
                w.emit(f"{count} += 1")
    w.ints[count] = limit + 3
