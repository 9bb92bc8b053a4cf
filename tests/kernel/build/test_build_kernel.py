"""Each construct of the typed tree, compiled and run on the kernel, against the reference evaluator."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pyebpf import layout as lay
from pyebpf.declare import GlobalDecl, MapDecl
from pyebpf.frontend import tree
from pyebpf.frontend.types import BOOL, I64, NONE, U64, Int, Maybe, Origin, Ref
from pyebpf.uapi.constants import MapType
from tests.kernel.build.running import Case, check, compiled
from tests.unit.build import trees as t

PAIR = lay.struct_type("Pair", [("a", lay.U32), ("b", lay.U64), ("c", lay.BE16), ("d", lay.I8)])
PACKED = lay.struct_type(
    "Packed", [("a", lay.U8), ("b", lay.U32), ("c", lay.U64), ("d", lay.I16)], packed=True
)
NESTED = lay.struct_type(
    "Nested",
    [("name", lay.BytesType(16)), ("pair", PAIR), ("list", lay.ArrayType(lay.U32, 4)), ("tail", lay.U8)],
)


def variable(case: Case, name: str, layout: lay.Layout, initial: object) -> tree.GlobalVar:
    """A global with contents that the compiler does not know."""
    decl = GlobalDecl(layout, initial, name=name)
    case.program.globals.append(decl)
    return tree.GlobalVar(span=t.AT, decl=decl, type=Ref(layout, Origin.GLOBAL, True))


def out_ref(case: Case, index: int) -> tree.Expr:
    return t.lookup(case.out, t.num(index))


def test_locals_loops_and_conditions() -> None:
    case = Case()
    x, i = t.local("x"), t.local("i")
    unit = case.program.unit(
        t.put(x, t.num(0)),
        t.for_range(
            i,
            t.num(0),
            t.num(10),
            t.if_(t.compare("<", t.get(i), t.num(5)), t.CONTINUE),
            t.put(x, t.arith("+", t.get(x), t.get(i))),
        ),
        case.show(0, t.get(x)),
        case.show(1, t.get(i)),
        t.ret(t.num(2)),
    )
    outcome = check(unit)
    assert outcome.verdict == 2
    assert outcome.maps["out"][bytes(4)] == (35).to_bytes(8, "little")


@pytest.mark.parametrize(
    ("start", "stop", "step"), [(0, 7, 3), (9, -4, -2), (5, 5, 1), (3, 1, 1), (-3, 3, 1)]
)
def test_ranges(start: int, stop: int, step: int) -> None:
    case = Case()
    i, n, s, limit = t.local("i"), t.local("n"), t.local("s"), t.local("limit")
    bound = t.get(limit)
    unit = case.program.unit(
        t.put(limit, t.read(variable(case, "stop", lay.I64, stop))),
        t.put(i, t.num(-77)),
        t.put(n, t.num(0)),
        t.put(s, t.num(0)),
        t.if_(
            t.both(t.compare("<", bound, t.num(10)), t.compare(">", bound, t.num(-10))),
            t.for_range(
                i,
                t.num(start),
                t.get(limit, Int(False, -9, 9)),
                t.put(n, t.arith("+", t.get(n), t.num(1))),
                t.put(s, t.arith("+", t.arith("*", t.get(s), t.num(10)), t.get(i))),
                t.put(i, t.num(1000)),
                step=step,
                orelse=(t.put(n, t.arith("+", t.get(n), t.num(100))),),
            ),
        ),
        case.show(0, t.get(n)),
        case.show(1, t.get(s)),
        t.ret(t.num(0)),
    )
    check(unit)


def test_while_break_else() -> None:
    case = Case()
    i, n = t.local("i"), t.local("n")

    def count(limit: int) -> tuple[tree.Stmt, ...]:
        return (
            t.put(i, t.num(0)),
            t.put(n, t.num(0)),
            t.while_(
                t.compare("<", t.get(i), t.num(10)),
                t.put(i, t.arith("+", t.get(i), t.num(1))),
                t.if_(t.compare("==", t.get(i), t.num(3)), t.CONTINUE),
                t.if_(t.compare(">", t.get(i), t.num(limit)), t.BREAK),
                t.put(n, t.arith("+", t.get(n), t.get(i))),
                orelse=(t.put(n, t.arith("+", t.get(n), t.num(1000))),),
            ),
        )

    check(
        case.program.unit(
            *count(6), case.show(0, t.get(n)), *count(60), case.show(1, t.get(n)), t.ret(t.num(0))
        )
    )


@pytest.mark.parametrize("values", [(3, 1, 2), tuple(range(-5, 25)), (1 << 40, 5, 1 << 63)])
def test_for_constants(values: tuple[int, ...]) -> None:
    case = Case()
    i, s = t.local("i", U64 if max(values) >= 1 << 63 else I64), t.local("s", U64)
    unit = case.program.unit(
        t.put(s, t.num(0)),
        tree.ForConstants(
            span=t.AT,
            local=i,
            values=values,
            body=(
                t.if_(t.compare("==", t.get(i), t.num(20)), t.BREAK),
                t.put(s, t.arith("+", t.arith("*", t.get(s), t.num(3), U64), t.get(i), U64)),
            ),
            orelse=(t.put(s, t.arith("+", t.get(s), t.num(7), U64)),),
        ),
        case.show(0, t.get(s)),
        t.ret(t.num(0)),
    )
    check(unit)


def test_logic_and_conditional() -> None:
    case = Case()
    x = t.local("x")
    flag = t.local("flag", BOOL)
    statements: list[tree.Stmt] = [t.put(x, t.read(variable(case, "x", lay.I64, 5)))]
    tests: list[tree.Expr] = [
        t.both(t.compare(">", t.get(x), t.num(1)), t.compare("<", t.get(x), t.num(5))),
        t.either(t.compare(">", t.get(x), t.num(9)), t.not_(t.compare("<", t.get(x), t.num(5)))),
        t.not_(t.either(t.compare("==", t.get(x), t.num(5)), t.boolean(False))),
        tree.Truth(span=t.AT, operand=t.get(x)),
        t.not_(tree.Truth(span=t.AT, operand=t.get(x))),
    ]
    for index, test in enumerate(tests):
        statements.append(t.put(flag, test))
        statements.append(case.show(index, tree.ToInt(span=t.AT, operand=t.get(flag), type=Int(False, 0, 1))))
        picked = t.conditional(t.get(flag), t.arith("+", t.get(x), t.num(1)), t.num(-9), I64)
        statements.append(case.show(10 + index, picked))
        equal = t.compare("==", t.get(flag), t.boolean(True))
        statements.append(
            t.if_(equal, case.show(20 + index, t.num(1)), orelse=(case.show(20 + index, t.num(2)),))
        )
    check(case.program.unit(*statements, t.ret(t.num(0))))


def test_structs() -> None:
    case = Case()
    n = t.local("n", t.ref(NESTED))
    x = t.read(variable(case, "x", lay.I64, -3))
    i = t.read(variable(case, "i", lay.I64, -1))
    made = t.new(
        NESTED,
        name=t.text(b"hello"),
        pair=t.new(PAIR, a=x, c=t.num(0x1234), d=t.num(-5)),
        tail=t.num(300),
    )
    statements: list[tree.Stmt] = [
        t.put(n, made),
        t.store(t.field_of(t.field_of(t.get(n), "pair"), "b"), x),
        t.store(t.element(t.field_of(t.get(n), "list"), i), t.num(77)),
        t.update(t.element(t.field_of(t.get(n), "list"), t.num(3)), "+", t.num(1)),
        t.update(t.element(t.field_of(t.get(n), "list"), t.num(-4)), "-", t.num(1)),
        t.update(t.field_of(t.field_of(t.get(n), "pair"), "c"), "<<", t.num(1)),
    ]
    shown: list[tree.Expr] = [t.field_of(t.field_of(t.get(n), "pair"), name) for name in "abcd"]
    shown += [t.element(t.field_of(t.get(n), "list"), t.num(k)) for k in range(4)]
    shown += [t.field_of(t.get(n), "tail")]
    shown += [t.element(t.field_of(t.get(n), "name"), t.num(k)) for k in range(0, 16, 3)]
    statements += [case.show(k, t.read(ref)) for k, ref in enumerate(shown)]
    check(case.program.unit(*statements, t.ret(t.num(0))))


def test_packed_structs_on_the_stack() -> None:
    case = Case()
    p = t.local("p", t.ref(PACKED))
    x = t.read(variable(case, "x", lay.I64, -0x123456789ABCDEF))
    statements: list[tree.Stmt] = [t.put(p, t.new(PACKED, a=x, b=x, c=x, d=x))]
    statements += [case.show(k, t.read(t.field_of(t.get(p), name))) for k, name in enumerate("abcd")]
    check(case.program.unit(*statements, t.ret(t.num(0))))


@pytest.mark.parametrize("index", [0, 3, -1, -4, 4, -5, 1 << 40, -(1 << 63)])
def test_variable_indexes(index: int) -> None:
    case = Case(error_verdict=17)
    a = t.local("a", t.ref(lay.ArrayType(PAIR, 4)))
    i = t.read(variable(case, "i", lay.I64, index))
    items = [t.new(PAIR, a=t.num(k + 1)) for k in range(4)]
    unit = case.program.unit(
        t.put(a, t.new_array(lay.ArrayType(PAIR, 4), *items)),
        case.show(0, t.read(t.field_of(t.element(t.get(a), i), "a"))),
        t.ret(t.num(1)),
    )
    assert check(unit).verdict == (1 if -4 <= index < 4 else 17)


def test_copies_and_slices() -> None:
    case = Case()
    a, b = t.local("a", t.ref(lay.BytesType(12))), t.local("b", t.ref(lay.BytesType(12)))
    part = t.slice_of(t.get(a), 3, 8)
    statements: list[tree.Stmt] = [
        t.put(a, t.new_array(lay.BytesType(12), *(t.num(k + 1) for k in range(10)))),
        t.put(b, tree.CopyOf(span=t.AT, source=part, type=t.ref(lay.BytesType(12)))),
        tree.CopyInto(span=t.AT, target=t.slice_of(t.get(a), 0, 5), source=t.slice_of(t.get(a), 2, 7)),
        tree.CopyInto(span=t.AT, target=t.slice_of(t.get(a), 8, 12), source=t.text(b"xy")),
    ]
    for k in range(12):
        statements.append(case.show(k, t.read(t.element(t.get(a), t.num(k)))))
        statements.append(case.show(20 + k, t.read(t.element(t.get(b), t.num(k)))))
    check(case.program.unit(*statements, t.ret(t.num(0))))


def test_copies_that_overlap() -> None:
    case = Case()
    twelve, five = lay.BytesType(12), lay.BytesType(5)
    both = lay.struct_type("Both", [("head", lay.U16), ("tail", lay.BytesType(6))])
    either = lay.struct_type("Either", [("whole", lay.BytesType(6)), ("both", both)], union=True)
    a, s = t.local("a", t.ref(twelve)), t.local("s", t.ref(five))
    u = t.local("u", t.ref(either))
    tail = t.field_of(t.field_of(t.get(u), "both"), "tail")
    statements: list[tree.Stmt] = [
        t.put(a, t.new_array(twelve, *(t.num(k + 1) for k in range(12)))),
        t.put(s, t.slice_of(t.get(a), 2, 7)),
        tree.CopyInto(span=t.AT, target=t.slice_of(t.get(a), 3, 8), source=t.get(s)),
        t.put(u, t.new(either, whole=t.text(b"abcdef"))),
        tree.CopyInto(span=t.AT, target=tail, source=t.field_of(t.get(u), "whole")),
    ]
    shown = [t.element(t.get(a), t.num(k)) for k in range(12)]
    shown += [t.element(t.field_of(t.get(u), "whole"), t.num(k)) for k in range(6)]
    shown += [t.element(tail, t.num(k)) for k in range(6)]
    statements += [case.show(k, t.read(item)) for k, item in enumerate(shown)]
    check(case.program.unit(*statements, t.ret(t.num(0))))


@pytest.mark.parametrize("content", [b"", b"abc", b"abcdefgh", b"abcdefghijklmnop", b"abcdefghijklmno"])
def test_byte_strings(content: bytes) -> None:
    case = Case()
    long = variable(case, "long", lay.BytesType(16), content)
    short = variable(case, "short", lay.BytesType(5), content[:5])
    local = t.local("local", t.ref(lay.BytesType(16)))

    def as_int(test: tree.Expr) -> tree.Expr:
        return tree.ToInt(span=t.AT, operand=test, type=Int(False, 0, 1))

    def same(left: tree.Expr, right: tree.Expr, length: int) -> tree.EqualBytes:
        return tree.EqualBytes(span=t.AT, left=left, right=right, length=length)

    length = Int(False, 0, 16)
    statements: list[tree.Stmt] = [
        t.put(local, tree.CopyOf(span=t.AT, source=long, type=t.ref(lay.BytesType(16)))),
        case.show(0, tree.LengthOfBytes(span=t.AT, ref=long, type=length)),
        case.show(1, tree.LengthOfBytes(span=t.AT, ref=short, type=length)),
        case.show(2, tree.LengthOfBytes(span=t.AT, ref=t.get(local), type=length)),
        case.show(3, as_int(same(long, t.get(local), 16))),
        case.show(4, as_int(same(long, t.text(b"abcdefgh"), 8))),
        case.show(5, as_int(same(short, t.text(b"abc\0\0"), 5))),
        t.store(t.element(t.get(local), t.num(15)), t.num(111)),
        t.if_(t.not_(same(long, t.get(local), 16)), case.show(6, t.num(1))),
    ]
    check(case.program.unit(*statements, t.ret(t.num(0))))


def test_globals_and_atomics() -> None:
    case = Case()
    a = variable(case, "a", lay.U64, 40)
    b = variable(case, "b", lay.U32, 0)
    c = variable(case, "c", PAIR, SimpleNamespace(a=1, b=2, c=3, d=-4))
    statements: list[tree.Stmt] = []
    for op, amount in (("+", 5), ("-", 3), ("|", 1 << 33), ("&", 0xFFFFFFFFFF), ("^", 9)):
        statements.append(t.update(a, op, t.num(amount), atomic=True))
    statements += [
        t.update(b, "-", t.num(1), atomic=True),
        t.store(t.field_of(c, "c"), t.num(0xABCD)),
        case.show(0, t.read(a)),
        case.show(1, t.read(b)),
        case.show(2, t.read(t.field_of(c, "c"))),
        case.show(3, t.read(t.field_of(c, "b"))),
    ]
    check(case.program.unit(*statements, t.ret(t.num(0))), runs=2)


def test_maps() -> None:
    case = Case(error_verdict=33)
    counts = case.map(t.hash_map("counts", lay.U32, lay.U64, default=7))
    plain = case.map(t.hash_map("plain", PAIR, PAIR, entries=2))
    k = t.local("k", t.ref(PAIR))
    found = t.local("found", Maybe(Ref(PAIR, Origin.MAP_VALUE, True, plain)))
    inside = Ref(PAIR, Origin.MAP_VALUE, True, plain)
    size = t.read(variable(case, "size", lay.U32, 10))
    statements: list[tree.Stmt] = [
        t.update(t.lookup(counts, size, tree.Missing.INSERT), "+", t.num(1), atomic=True),
        t.update(t.lookup(counts, size, tree.Missing.INSERT), "+", t.num(1), atomic=True),
        t.put(k, t.new(PAIR, a=size)),
        t.put(found, t.lookup(plain, t.get(k), tree.Missing.NULL)),
        t.if_(
            tree.IsNone(span=t.AT, operand=t.get(found)),
            t.do(t.map_update(plain, t.get(k), t.new(PAIR, b=t.num(5)))),
            case.show(0, t.num(1)),
            orelse=(
                t.update(t.field_of(t.get(found, inside), "b"), "+", t.num(2), atomic=True),
                t.store(t.field_of(t.get(found, inside), "c"), t.num(9)),
            ),
        ),
        t.if_(
            tree.IsNone(span=t.AT, operand=t.lookup(plain, t.get(k), tree.Missing.NULL), negated=True),
            case.show(1, t.read(t.field_of(t.lookup(plain, t.get(k)), "b"))),
        ),
        t.do(t.map_update(plain, t.new(PAIR, a=t.num(1)), t.get(k), checked=False)),
        case.show(2, t.map_update(plain, t.new(PAIR, a=t.num(2)), t.get(k), checked=False)),
        case.show(
            3, tree.MapDelete(span=t.AT, map=plain, key=t.new(PAIR, a=t.num(1)), checked=True, type=I64)
        ),
        case.show(
            4, tree.MapDelete(span=t.AT, map=plain, key=t.new(PAIR, a=t.num(1)), checked=False, type=I64)
        ),
        t.ret(t.num(0)),
    ]
    check(case.program.unit(*statements), runs=3)


@pytest.mark.parametrize("what", ["lookup", "delete", "update", "insert", "array"])
def test_failing_map_operations(what: str) -> None:
    case = Case(error_verdict=33)
    full = case.map(t.hash_map("full", lay.U32, lay.U64, default=0, entries=1))
    failing: dict[str, tree.Expr] = {
        "lookup": t.lookup(full, t.num(5)),
        "delete": tree.MapDelete(span=t.AT, map=full, key=t.num(5), checked=True, type=I64),
        "update": t.map_update(full, t.num(5), t.num(1)),
        "insert": t.lookup(full, t.num(5), tree.Missing.INSERT),
        "array": t.lookup(case.out, t.num(64)),
    }
    e = t.local("e")
    unit = case.program.unit(
        t.do(t.map_update(full, t.num(1), t.num(1))),
        t.try_(
            t.do(failing[what]),
            handlers=(
                t.catch(tree.Exc.KEY, body=(case.show(0, t.num(1)), t.RERAISE)),
                t.catch(tree.Exc.OS, errno=e, body=(case.show(1, t.get(e)), t.RERAISE)),
            ),
        ),
        t.ret(t.num(0)),
    )
    assert check(unit).verdict == 33


def test_queues() -> None:
    case = Case(error_verdict=44)
    queue = MapDecl(MapType.QUEUE, None, PAIR, 2, name="queue")
    case.program.maps.append(queue)

    def pop(peek: bool) -> tree.Expr:
        return t.read(t.field_of(tree.MapPop(span=t.AT, map=queue, peek=peek, type=t.ref(PAIR)), "a"))

    def push(value: int) -> tree.Expr:
        pair = t.new(PAIR, a=t.num(value))
        return tree.MapPush(span=t.AT, map=queue, value=pair, flags=t.num(0), checked=False, type=I64)

    unit = case.program.unit(
        case.show(0, push(5)),
        case.show(1, push(6)),
        case.show(2, push(7)),
        case.show(3, pop(True)),
        case.show(4, pop(False)),
        case.show(5, pop(False)),
        case.show(6, pop(False)),
        t.ret(t.num(0)),
    )
    assert check(unit).verdict == 44


@pytest.mark.parametrize("index", [0, 2, -1])
def test_references_from_everywhere(index: int) -> None:
    """Keys and values behind variable indexes, chosen references, elements of map values."""
    case = Case(error_verdict=44)
    four = lay.ArrayType(PAIR, 4)
    table = case.map(t.hash_map("table", PAIR, four))
    a, chosen = t.local("a", t.ref(four)), t.local("chosen", t.ref(PAIR))
    maybe = t.local("maybe", Maybe(t.ref(PAIR)))
    i = t.read(variable(case, "i", lay.I8, index))
    value = t.local("value", Ref(four, Origin.MAP_VALUE, True, table))
    is_zero = t.compare("==", i, t.num(0))
    statements: list[tree.Stmt] = [
        t.put(a, t.new_array(four, *(t.new(PAIR, a=t.num(k), b=t.num(10 * k)) for k in range(4)))),
        t.do(t.map_update(table, t.element(t.get(a), i), t.get(a))),
        t.put(value, t.lookup(table, t.element(t.get(a), i))),
        t.update(t.field_of(t.element(t.get(value), i), "b"), "+", t.num(3), atomic=True),
        tree.CopyInto(span=t.AT, target=t.element(t.get(value), t.num(1)), source=t.element(t.get(a), i)),
        t.put(
            chosen,
            t.conditional(is_zero, t.element(t.get(a), t.num(2)), t.new(PAIR, b=t.num(8)), t.ref(PAIR)),
        ),
        t.update(t.field_of(t.get(chosen), "b"), "+", t.num(100)),
        case.show(0, t.read(t.field_of(t.element(t.get(a), t.num(2)), "b"))),
        t.put(
            maybe,
            t.conditional(
                is_zero, tree.NullConst(span=t.AT, type=Maybe(t.ref(PAIR))), t.get(a), Maybe(t.ref(PAIR))
            ),
        ),
        t.if_(
            tree.IsNone(span=t.AT, operand=t.get(maybe), negated=True),
            case.show(1, t.read(t.field_of(t.get(maybe, t.ref(PAIR)), "b"))),
        ),
    ]
    check(case.program.unit(*statements, t.ret(t.num(0))))


ETH = lay.struct_type("Eth", [("dest", lay.BytesType(6)), ("src", lay.BytesType(6)), ("proto", lay.BE16)])


def view(case: Case, layout: lay.Layout, offset: tree.Expr) -> tree.PacketView:
    return tree.PacketView(span=t.AT, context=case.ctx, offset=offset, type=Ref(layout, Origin.PACKET))


@pytest.mark.parametrize("offset", [0, 86, 87, 100, -1, 65535, 1 << 32])
def test_packet_views(offset: int) -> None:
    case = Case(error_verdict=0)
    at = t.read(variable(case, "at", lay.I64, offset))
    e = t.local("e", Ref(ETH, Origin.PACKET))
    unit = case.program.unit(
        t.put(e, view(case, ETH, t.num(0))),
        case.show(0, t.read(t.field_of(t.get(e), "proto"))),
        case.show(1, tree.PacketLength(span=t.AT, context=case.ctx, type=Int(False, 0, 65535))),
        t.if_(
            tree.EqualBytes(
                span=t.AT, left=t.field_of(t.get(e), "dest"), right=t.text(bytes(range(1, 7))), length=6
            ),
            case.show(2, t.num(1)),
        ),
        t.put(e, view(case, ETH, at)),
        case.show(3, t.read(t.field_of(t.get(e), "proto"))),
        t.update(t.field_of(t.get(e), "proto"), "+", t.num(1)),
        t.store(t.element(t.field_of(t.get(e), "src"), t.num(2)), t.num(0xEE)),
        t.ret(t.num(2)),
    )
    assert check(unit).verdict == (2 if 0 <= offset <= 86 else 0)


@pytest.mark.parametrize("offset", [0, 82, 83, 86, -1, 1 << 32, 1 << 31])
def test_packet_copies(offset: int) -> None:
    case = Case("socket_filter", error_verdict=3)
    at = t.read(variable(case, "at", lay.I64, offset))
    copied = tree.PacketCopy(span=t.AT, context=case.ctx, offset=at, type=t.ref(lay.BE32))
    check(case.program.unit(case.show(0, t.read(copied)), t.ret(t.num(100))))


def test_constant_offset_outside() -> None:
    case = Case(error_verdict=3)
    unit = case.program.unit(case.show(0, t.read(view(case, lay.U32, t.num(65535)))), t.ret(t.num(2)))
    assert check(unit).verdict == 3


@pytest.mark.parametrize("trips", [0, 1, 2, 3, 4, 5])
def test_exceptions_and_finally(trips: int) -> None:
    """Every way out of a try statement, taken by what the input says."""
    case = Case(error_verdict=55)
    x = t.read(variable(case, "x", lay.I64, trips))
    i, n, e = t.local("i"), t.local("n"), t.local("e")
    body = t.try_(
        t.if_(t.compare("==", x, t.num(1)), t.BREAK),
        t.if_(t.compare("==", x, t.num(2)), t.CONTINUE),
        t.if_(t.compare("==", x, t.num(3)), t.raise_(tree.Exc.OS, t.arith("+", x, t.num(10)))),
        t.if_(t.compare("==", x, t.num(4)), t.raise_(tree.Exc.INDEX)),
        t.if_(t.compare("==", x, t.num(5)), t.ret(t.num(66))),
        handlers=(t.catch(tree.Exc.OS, errno=e, body=(case.show(1, t.get(e)),)),),
        orelse=(case.show(2, t.num(1)),),
        final=(t.put(n, t.arith("+", t.get(n), t.num(100))), case.show(3, t.get(n))),
    )
    unit = case.program.unit(
        t.put(n, t.num(0)),
        t.try_(
            t.for_range(i, t.num(0), t.num(3), body, t.put(n, t.arith("+", t.get(n), t.num(1)))),
            handlers=(t.catch(tree.Exc.LOOKUP, body=(case.show(4, t.num(1)), t.RERAISE)),),
            final=(case.show(5, t.get(n)),),
        ),
        case.show(0, t.get(n)),
        t.ret(t.num(0)),
    )
    check(unit)


def test_return_in_finally_wins() -> None:
    case = Case(error_verdict=55)
    unit = case.program.unit(t.try_(t.raise_(tree.Exc.VALUE), final=(t.ret(t.num(8)),)))
    assert check(unit).verdict == 8


@pytest.mark.parametrize("x", [0, 1, 2, 3, 9])
def test_functions_that_raise(x: int) -> None:
    case = Case(error_verdict=55)
    a = t.local("a")
    raises = frozenset({tree.Exc.OS, tree.Exc.INDEX, tree.Exc.ASSERTION})
    inner = t.function(
        "inner",
        (a,),
        I64,
        t.if_(t.compare("==", t.get(a), t.num(1)), t.raise_(tree.Exc.OS, t.num(22))),
        t.if_(t.compare("==", t.get(a), t.num(2)), t.raise_(tree.Exc.INDEX)),
        t.if_(t.compare("==", t.get(a), t.num(3)), t.raise_(tree.Exc.ASSERTION)),
        t.ret(t.arith("*", t.get(a), t.num(2))),
        raises=raises,
    )
    b = t.local("b")
    outer = t.function(
        "outer",
        (b,),
        I64,
        t.try_(
            t.ret(t.arith("+", t.call(inner, t.get(b)), t.num(1))),
            handlers=(t.catch(tree.Exc.ASSERTION, body=(t.ret(t.num(500)),)),),
        ),
        raises=raises - {tree.Exc.ASSERTION},
    )
    e = t.local("e")
    unit = case.program.unit(
        t.try_(
            case.show(0, t.call(outer, t.read(variable(case, "x", lay.I64, x)))),
            handlers=(t.catch(tree.Exc.OS, errno=e, body=(case.show(1, t.get(e)),)),),
        ),
        t.ret(t.num(0)),
    )
    check(unit)


def test_functions_with_references() -> None:
    case = Case()
    p, k = t.local("p", Ref(PAIR, Origin.CALLER)), t.local("k", U64)
    change = t.function("change", (p,), NONE, t.update(t.field_of(t.get(p), "b"), "+", t.num(1)), t.ret())
    make = t.function("make", (k,), t.ref(PAIR), t.ret(t.new(PAIR, b=t.get(k), c=t.num(3))))
    q = t.local("q", t.ref(PAIR))
    r = t.local("r", t.ref(PAIR))
    big = t.local("big", BOOL)
    check_big = t.function("is_big", (big,), BOOL, t.ret(t.not_(t.get(big))))
    unit = case.program.unit(
        t.put(q, t.call(make, t.num(41))),
        t.put(r, t.call(make, t.num(1000))),
        t.do(t.call(change, t.get(q))),
        t.do(t.call(change, t.get(r))),
        case.show(0, t.read(t.field_of(t.get(q), "b"))),
        case.show(1, t.read(t.field_of(t.get(r), "b"))),
        case.show(2, t.read(t.field_of(t.get(r), "c"))),
        t.if_(t.call(check_big, t.boolean(False)), case.show(3, t.num(1))),
        t.ret(t.num(0)),
    )
    check(unit)


def test_map_values_from_functions() -> None:
    case = Case(error_verdict=12)
    i = t.local("i", U64)
    found = Ref(lay.U64, Origin.MAP_VALUE, True, case.out)
    find = t.function(
        "find", (i,), found, t.ret(t.lookup(case.out, t.get(i))), raises=frozenset({tree.Exc.KEY})
    )
    maybe = t.function(
        "maybe", (t.local("j", U64),), Maybe(found), t.ret(tree.NullConst(span=t.AT, type=Maybe(found)))
    )
    unit = case.program.unit(
        t.store(t.call(find, t.num(3)), t.num(123)),
        t.if_(tree.IsNone(span=t.AT, operand=t.call(maybe, t.num(0))), case.show(4, t.num(9))),
        t.store(t.call(find, t.num(64)), t.num(1)),
        t.ret(t.num(0)),
    )
    assert check(unit).verdict == 12


@pytest.mark.parametrize("limit", [0, 5, 100])
def test_bpf_loop_with_captures(limit: int) -> None:
    case = Case(error_verdict=31)
    total, seen = t.local("total"), t.local("seen", t.ref(PAIR))
    total.boxed = seen.boxed = True
    i, state = t.local("i", U64), t.local("state", Ref(PAIR, Origin.CALLER))
    body = t.function(
        "body",
        (i, state),
        BOOL,
        t.put(total, t.arith("+", t.get(total), t.get(i))),
        t.update(t.field_of(t.get(state), "b"), "+", t.num(2)),
        t.update(t.field_of(t.get(seen), "b"), "+", t.num(1)),
        t.if_(t.compare("==", t.get(i), t.num(50)), t.raise_(tree.Exc.OS, t.num(28))),
        t.ret(t.compare(">=", t.get(i), t.read(variable(case, "limit", lay.U64, limit)))),
        kind=tree.FunctionKind.CALLBACK,
        raises=frozenset({tree.Exc.OS}),
        captures=(total, seen),
    )
    mine = t.local("mine", t.ref(PAIR))
    calls = tree.LoopCall(span=t.AT, count=t.num(80), body=body, state=t.get(mine), type=I64)
    e = t.local("e")
    unit = case.program.unit(
        t.put(total, t.num(1)),
        t.put(seen, t.new(PAIR)),
        t.put(mine, t.new(PAIR)),
        t.try_(
            case.show(0, calls),
            handlers=(t.catch(tree.Exc.OS, errno=e, body=(case.show(1, t.get(e)),)),),
            final=(
                case.show(2, t.get(total)),
                case.show(3, t.read(t.field_of(t.get(seen), "b"))),
                case.show(4, t.read(t.field_of(t.get(mine), "b"))),
            ),
        ),
        t.ret(t.num(0)),
    )
    check(unit)


def test_bpf_loop_with_plain_state() -> None:
    case = Case()
    i, state = t.local("i", U64), t.local("state", Ref(PAIR, Origin.CALLER))
    body = t.function(
        "body",
        (i, state),
        NONE,
        t.update(t.field_of(t.get(state), "b"), "+", t.get(i)),
        t.ret(),
        kind=tree.FunctionKind.CALLBACK,
    )
    j, number = t.local("j", U64), t.local("number")
    counted = t.function(
        "counted",
        (j, number),
        I64,
        t.update(out_ref(case, 7), "+", t.get(number), atomic=True),
        t.ret(t.num(0)),
        kind=tree.FunctionKind.CALLBACK,
        raises=frozenset({tree.Exc.KEY}),
    )
    mine = t.local("mine", t.ref(PAIR))
    n = t.read(variable(case, "n", lay.I32, -3))
    unit = case.program.unit(
        t.put(mine, t.new(PAIR)),
        case.show(0, tree.LoopCall(span=t.AT, count=t.num(10), body=body, state=t.get(mine), type=I64)),
        case.show(4, tree.LoopCall(span=t.AT, count=t.num(0), body=body, state=t.get(mine), type=I64)),
        case.show(1, t.read(t.field_of(t.get(mine), "b"))),
        case.show(2, tree.LoopCall(span=t.AT, count=t.num(4), body=counted, state=t.num(11), type=I64)),
        t.if_(
            t.compare("<", n, t.num(100)),
            case.show(3, tree.LoopCall(span=t.AT, count=n, body=counted, state=t.num(11), type=I64)),
        ),
        t.ret(t.num(0)),
    )
    check(unit)


def test_bpf_loop_that_never_runs() -> None:
    case = Case()
    i = t.local("i", U64)
    body = t.function("body", (i,), NONE, case.show(1, t.num(1)), t.ret(), kind=tree.FunctionKind.CALLBACK)
    call = tree.LoopCall(span=t.AT, count=t.num(0), body=body, state=None, type=I64)
    check(case.program.unit(case.show(0, call), t.ret(t.num(0))))


def test_nested_callbacks_share_variables() -> None:
    case = Case()
    total = t.local("total")
    total.boxed = True
    i, j = t.local("i", U64), t.local("j", U64)
    inner = t.function(
        "inner",
        (j,),
        NONE,
        t.put(total, t.arith("+", t.get(total), t.get(j))),
        t.ret(),
        kind=tree.FunctionKind.CALLBACK,
        captures=(total,),
    )
    outer = t.function(
        "outer",
        (i,),
        NONE,
        t.put(total, t.arith("+", t.get(total), t.num(100))),
        t.do(tree.LoopCall(span=t.AT, count=t.num(3), body=inner, state=None, type=I64)),
        t.put(total, t.arith("*", t.get(total), t.num(2))),
        t.ret(),
        kind=tree.FunctionKind.CALLBACK,
        captures=(total,),
    )
    unit = case.program.unit(
        t.put(total, t.num(0)),
        t.do(tree.LoopCall(span=t.AT, count=t.num(4), body=outer, state=None, type=I64)),
        case.show(0, t.get(total)),
        t.ret(t.num(0)),
    )
    check(unit)


def test_context_fields() -> None:
    case = Case("tc")
    context = t.SKB.decl.context
    length, mark, cb = context.field("len"), context.field("mark"), context.field("cb")
    assert length is not None and mark is not None and cb is not None
    word = Int(False, 0, (1 << 32) - 1)

    def field(row: object, index: int = 0) -> tree.Expr:
        return tree.ContextField(span=t.AT, context=case.ctx, row=row, index=index, type=word)  # type: ignore[arg-type]

    unit = case.program.unit(
        tree.StoreContext(span=t.AT, context=case.ctx, row=mark, index=0, value=t.num(77)),
        tree.StoreContext(span=t.AT, context=case.ctx, row=cb, index=2, value=t.num(5)),
        case.show(0, field(length)),
        case.show(1, t.arith("+", field(mark), field(cb, 2))),
        t.ret(t.num(0)),
    )
    outcome = compiled(unit)
    values = [int.from_bytes(outcome.maps["out"][k.to_bytes(4, "little")], "little") for k in range(2)]
    assert values == [100, 82]
