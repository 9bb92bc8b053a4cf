"""Constructs that reach out of the program: ring buffers, tail calls, helpers, printing, other functions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyebpf import layout as lay
from pyebpf.declare import GlobalDecl, MapDecl
from pyebpf.frontend import tree
from pyebpf.frontend.types import I64, U64, Handle, Int, Maybe, Origin, Pointer, Ref
from pyebpf.runtime.trace import trace_print
from pyebpf.uapi.constants import MapType
from pyebpf.uapi.helpers import helper_by_name
from tests.kernel.build.running import Case, check, compiled
from tests.unit.build import trees as t

EVENT = lay.struct_type("Event", [("kind", lay.U32), ("name", lay.BytesType(12)), ("value", lay.U64)])


def number(case: Case, name: str, value: int, layout: lay.IntType = lay.I64) -> tree.Expr:
    decl = GlobalDecl(layout, value, name=name)
    case.program.globals.append(decl)
    return t.read(tree.GlobalVar(span=t.AT, decl=decl, type=Ref(layout, Origin.GLOBAL, True)))


def shown(outcome_maps: dict[str, dict[bytes, bytes]], index: int) -> int:
    return int.from_bytes(outcome_maps["out"][index.to_bytes(4, "little")], "little", signed=True)


def helper(name: str, *args: tree.Expr, type_: object = I64, checked: bool = False) -> tree.HelperCall:
    row = helper_by_name(name)
    assert row is not None
    return tree.HelperCall(span=t.AT, helper=row, args=args, checked=checked, type=type_)  # type: ignore[arg-type]


def find_socket(case: Case, type_: object, checked: bool = False) -> tree.HelperCall:
    addresses = t.new_array(lay.BytesType(12))
    rest = (t.num(12), t.num(-1), t.num(0))
    return helper("skc_lookup_tcp", case.ctx, addresses, *rest, type_=type_, checked=checked)


@pytest.mark.parametrize("way", range(6))
def test_ring_buffer_records(way: int) -> None:
    """Every way out of the ``with``: the end, break, continue, return, two exceptions."""
    case = Case(error_verdict=70)
    ring = MapDecl(MapType.RINGBUF, None, None, 4096, name="ring")
    case.program.maps.append(ring)
    inside = Ref(EVENT, Origin.RECORD)
    e = t.local("e", Maybe(inside))
    x = number(case, "x", way)
    i, code = t.local("i"), t.local("code")
    record = tree.Reserve(
        span=t.AT,
        map=ring,
        local=e,
        layout=EVENT,
        body=(
            t.if_(tree.IsNone(span=t.AT, operand=t.get(e)), t.ret(t.num(9))),
            t.store(t.field_of(t.get(e, inside), "value"), t.arith("+", t.get(i), t.num(5))),
            tree.CopyInto(
                span=t.AT, target=t.field_of(t.get(e, inside), "name"), source=t.text(b"abcdefghi")
            ),
            t.if_(t.compare("==", x, t.num(1)), t.BREAK),
            t.if_(t.compare("==", x, t.num(2)), t.CONTINUE),
            t.if_(t.compare("==", x, t.num(3)), t.ret(t.num(8))),
            t.if_(t.compare("==", x, t.num(4)), t.raise_(tree.Exc.OS, t.num(4))),
            t.if_(t.compare("==", x, t.num(5)), t.raise_(tree.Exc.VALUE)),
            t.store(t.field_of(t.get(e, inside), "kind"), t.num(1)),
        ),
    )
    unit = case.program.unit(
        t.try_(
            t.for_range(i, t.num(0), t.num(2), record, case.show(1, t.get(i))),
            handlers=(t.catch(tree.Exc.OS, errno=code, body=(case.show(2, t.get(code)),)),),
        ),
        t.ret(t.num(0)),
    )
    check(unit)


def test_ring_buffer_output_and_full_buffer() -> None:
    case = Case(error_verdict=70)
    ring = MapDecl(MapType.RINGBUF, None, None, 4096, name="ring")
    case.program.maps.append(ring)
    big = lay.BytesType(3000)

    def send(value: tree.Expr) -> tree.Expr:
        return tree.RingOutput(span=t.AT, map=ring, value=value, flags=t.num(0), checked=False, type=I64)

    def reserve(index: int) -> tree.Reserve:
        e = t.local("e", Maybe(Ref(big, Origin.RECORD)))
        test = tree.IsNone(span=t.AT, operand=t.get(e))
        body = (t.if_(test, case.show(index, t.num(1)), orelse=(case.show(index, t.num(2)),)),)
        return tree.Reserve(span=t.AT, map=ring, local=e, layout=big, body=body)

    unit = case.program.unit(
        case.show(0, send(t.new(EVENT, kind=t.num(3), name=t.text(b"xyz")))),
        reserve(1),
        reserve(2),
        t.ret(t.num(1)),
    )
    outcome = compiled(unit)
    assert [shown(outcome.maps, k) for k in range(3)] == [0, 2, 1]
    assert outcome.records["ring"][0] == b"\x03\0\0\0xyz" + bytes(17)
    assert outcome.records["ring"][1] == bytes(3000)


@pytest.mark.parametrize("index", [0, 3, -1, 1 << 32])
def test_tail_call_into_an_empty_slot(index: int) -> None:
    case = Case(error_verdict=70)
    programs = MapDecl(MapType.PROG_ARRAY, lay.U32, lay.U32, 2, name="programs")
    case.program.maps.append(programs)
    jump = tree.TailCall(span=t.AT, map=programs, context=case.ctx, index=number(case, "i", index))
    unit = case.program.unit(
        t.try_(jump, handlers=(t.catch(tree.Exc.KEY, body=(case.show(0, t.num(7)), t.ret(t.num(4)))),))
    )
    outcome = compiled(unit)
    assert (outcome.verdict, shown(outcome.maps, 0)) == (4, 7)


def test_packet_store() -> None:
    case = Case("tc", error_verdict=70)
    pair = lay.struct_type("P", [("a", lay.BE16), ("b", lay.U8)])

    def store(offset: int, value: tree.Expr, layout: lay.Layout) -> tree.Stmt:
        at = number(case, f"at{offset}".replace("-", "m"), offset)
        return t.do(
            tree.PacketStore(
                span=t.AT, context=case.ctx, offset=at, value=value, layout=layout, flags=t.num(0)
            )
        )

    unit = case.program.unit(
        store(20, t.num(0x1234), lay.BE32),
        store(30, t.new(pair, a=t.num(0x5678), b=t.num(9)), pair),
        store(98, t.num(0x1234), lay.BE32),
        t.ret(t.num(1)),
    )
    assert check(unit).verdict == 70


def test_xdp_metadata() -> None:
    case = Case(error_verdict=70)
    meta = tree.PacketView(
        span=t.AT, context=case.ctx, offset=t.num(0), type=Ref(lay.U32, Origin.PACKET), meta=True
    )
    unit = case.program.unit(
        case.show(0, helper("xdp_adjust_meta", case.ctx, t.num(-4))), t.store(meta, t.num(5)), t.ret(t.num(2))
    )
    outcome = compiled(unit)
    assert (outcome.verdict, shown(outcome.maps, 0)) == (2, 0)
    case = Case(error_verdict=70)
    meta = tree.PacketView(
        span=t.AT, context=case.ctx, offset=t.num(0), type=Ref(lay.U32, Origin.PACKET), meta=True
    )
    assert compiled(case.program.unit(t.store(meta, t.num(5)), t.ret(t.num(2)))).verdict == 70


def test_helpers() -> None:
    case = Case("tc", error_verdict=70)
    comm = t.local("comm", t.ref(lay.BytesType(16)))
    code = t.local("code")
    socket = Maybe(Pointer(Handle.SOCKET))
    s = t.local("s", socket)
    unit = case.program.unit(
        case.show(0, helper("get_current_pid_tgid", type_=U64)),
        t.put(comm, t.new_array(lay.BytesType(16))),
        case.show(1, helper("get_current_comm", t.get(comm), t.num(16))),
        case.show(2, tree.LengthOfBytes(span=t.AT, ref=t.get(comm), type=Int(False, 0, 16))),
        t.put(
            s,
            helper(
                "skc_lookup_tcp",
                case.ctx,
                t.new_array(lay.BytesType(12)),
                t.num(12),
                t.num(-1),
                t.num(0),
                type_=socket,
            ),
        ),
        t.if_(
            tree.IsNone(span=t.AT, operand=t.get(s), negated=True),
            t.do(helper("sk_release", t.get(s, Pointer(Handle.SOCKET)), type_=I64)),
        ),
        t.try_(
            t.do(helper("skb_load_bytes", case.ctx, t.num(5000), t.get(comm), t.num(16), checked=True)),
            handlers=(t.catch(tree.Exc.OS, errno=code, body=(case.show(3, t.get(code)),)),),
        ),
        t.ret(t.num(1)),
    )
    outcome = compiled(unit)
    assert shown(outcome.maps, 0) == os.getpid() << 32 | os.getpid()
    assert shown(outcome.maps, 1) == 0
    assert shown(outcome.maps, 2) == len(Path("/proc/self/comm").read_text().strip())
    assert shown(outcome.maps, 3) == 14


def test_checked_null_raises() -> None:
    case = Case("tc", error_verdict=70)
    s = t.local("s", Pointer(Handle.SOCKET))
    found = find_socket(case, Pointer(Handle.SOCKET), checked=True)
    unit = case.program.unit(t.put(s, found), t.do(helper("sk_release", t.get(s))), t.ret(t.num(1)))
    assert compiled(unit).verdict == 70


@pytest.mark.alone("trace pipe")
@pytest.mark.parametrize("count", [1, 3, 5])
def test_printing(count: int) -> None:
    case = Case()
    name = GlobalDecl(lay.BytesType(6), b"abcdef", name="name")
    case.program.globals.append(name)
    ref = tree.GlobalVar(span=t.AT, decl=name, type=Ref(lay.BytesType(6), Origin.GLOBAL))
    args: list[tree.Expr] = [
        ref,
        number(case, "x", -7),
        t.text(b"const\0tail"),
        t.num(3),
        number(case, "y", 1 << 40),
    ]
    text = b" ".join([b"%s", b"%lld", b"%s", b"%lld", b"%llx"][:count])
    unit = case.program.unit(
        t.do(tree.Print(span=t.AT, format=b"pyebpf-build " + text, args=tuple(args[:count]))), t.ret(t.num(1))
    )
    lines = trace_print(0.2)
    compiled(unit)
    wanted = " ".join(["abcdef", "-7", "const", "3", "10000000000"][:count])
    assert any(line.endswith(f"pyebpf-build {wanted}") for line in lines)


def test_global_function() -> None:
    case = Case()
    p = t.local("p", Ref(EVENT, Origin.CALLER))
    n = t.local("n")
    worker = t.function(
        "worker",
        (p, n),
        I64,
        t.update(t.field_of(t.get(p), "value"), "+", t.get(n)),
        t.ret(t.read(t.field_of(t.get(p), "kind"))),
        kind=tree.FunctionKind.GLOBAL,
    )
    e = t.local("e", t.ref(EVENT))
    unit = case.program.unit(
        t.put(e, t.new(EVENT, kind=t.num(6))),
        case.show(0, t.call(worker, t.get(e), t.num(4))),
        case.show(1, t.read(t.field_of(t.get(e), "value"))),
        t.ret(t.num(0)),
    )
    check(unit)


def test_global_function_with_its_memory_as_a_key() -> None:
    case = Case()
    counts = case.map(t.hash_map("counts", EVENT, lay.U64))
    p, q = t.local("p", Ref(EVENT, Origin.CALLER)), t.local("q", Ref(EVENT, Origin.CALLER))
    count = t.function("count", (q,), I64, t.ret(t.map_update(counts, t.get(q), t.num(5), checked=False)))
    worker = t.function("worker", (p,), I64, t.ret(t.call(count, t.get(p))), kind=tree.FunctionKind.GLOBAL)
    e = t.local("e", t.ref(EVENT))
    unit = case.program.unit(
        t.put(e, t.new(EVENT, kind=t.num(6))),
        case.show(0, t.call(worker, t.get(e))),
        case.show(1, t.call(count, t.get(e))),
        t.ret(t.num(0)),
    )
    check(unit)


def test_callback_of_another_helper() -> None:
    case = Case()
    key, value = (
        t.local("key", Ref(lay.U32, Origin.MAP_VALUE)),
        t.local("value", Ref(lay.U64, Origin.MAP_VALUE)),
    )
    handle, state = t.local("map", Pointer(Handle.KERNEL)), t.local("state", Ref(EVENT, Origin.CALLER))
    each = t.function(
        "each",
        (handle, key, value, state),
        I64,
        t.update(t.field_of(t.get(state), "value"), "+", t.read(t.get(value))),
        t.if_(t.compare("==", t.read(t.get(value)), t.num(30)), t.raise_(tree.Exc.VALUE)),
        t.ret(t.compare("==", t.read(t.get(value)), t.num(20))),
        kind=tree.FunctionKind.CALLBACK,
    )
    e = t.local("e", t.ref(EVENT))
    unit = case.program.unit(
        t.put(e, t.new(EVENT)),
        *(case.show(k, t.num(10 * k)) for k in range(4)),
        case.show(
            60,
            helper(
                "for_each_map_elem",
                tree.MapHandle(span=t.AT, map=case.out),
                tree.FunctionHandle(span=t.AT, function=each),
                t.get(e),
                t.num(0),
            ),
        ),
        case.show(61, t.read(t.field_of(t.get(e), "value"))),
        t.ret(t.num(0)),
    )
    outcome = compiled(unit)
    assert (shown(outcome.maps, 60), shown(outcome.maps, 61)) == (3, 30)
