"""What holds of every lowered function, and what the lowering refuses as a mistake of the compiler."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pyebpf import layout as lay
from pyebpf.declare import GlobalDecl, MapDecl
from pyebpf.diagnostics import InternalError
from pyebpf.frontend import tree
from pyebpf.frontend.build import build
from pyebpf.frontend.build_data import encode
from pyebpf.frontend.build_facts import facts
from pyebpf.frontend.build_frame import Calling, frames_of, reachable
from pyebpf.frontend.types import I64, NONE, U64, Origin, Ref
from pyebpf.ir import ops
from pyebpf.ir.ops import Inlining
from pyebpf.ir.text import print_module
from pyebpf.ir.types import PtrTy, Space
from pyebpf.object import Pinning
from pyebpf.target import Target
from pyebpf.uapi.constants import MapType
from tests.golden.build.programs import PAIR, PROGRAMS
from tests.unit.build import trees as t

PORT_80 = bytes(16) + b"\0\x50" + bytes(6)
BIG = Target(little_endian=False)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_operation_has_a_span(name: str) -> None:
    for function in build(PROGRAMS[name](), Target()).functions.values():
        assert all(op.span is not None for op in function.ops())


@pytest.mark.parametrize("name", PROGRAMS)
def test_errors_are_laid_out_last(name: str) -> None:
    for function in build(PROGRAMS[name](), Target()).functions.values():
        place = {block: i for i, block in enumerate(function.blocks)}
        for block in function.blocks:
            last = block.terminator
            if isinstance(last, ops.Branch) and last.unlikely and not last.otherwise.name.startswith("ok"):
                assert place[last.then] > place[last.otherwise]


def test_falling_off_the_end_is_our_mistake() -> None:
    program = t.Program()
    with pytest.raises(InternalError, match="falls off the end"):
        build(program.unit(t.put(t.local("x"), t.num(1))), Target())


def test_undeclared_exceptions_are_our_mistake() -> None:
    program = t.Program()
    silent = t.function("silent", (), I64, t.raise_(tree.Exc.VALUE))
    loud = t.function("loud", (), I64, t.raise_(tree.Exc.VALUE), raises=frozenset({tree.Exc.OS}))
    for callee in (silent, loud):
        with pytest.raises(InternalError):
            build(program.unit(t.ret(t.call(callee))), Target())


def test_names_are_needed() -> None:
    unnamed = MapDecl(MapType.HASH, lay.U32, lay.U32, 1)
    with pytest.raises(InternalError, match="map without a name"):
        build(t.Program(maps=[unnamed]).unit(t.ret(t.num(0))), Target())
    with pytest.raises(InternalError, match="variable without a name"):
        build(t.Program(globals=[GlobalDecl(lay.U32, 0)]).unit(t.ret(t.num(0))), Target())


def test_narrow_atomics_are_our_mistake() -> None:
    program = t.Program(globals=[GlobalDecl(lay.U16, 0, name="x")])
    ref = tree.GlobalVar(span=t.AT, decl=program.globals[0], type=Ref(lay.U16, Origin.GLOBAL, True))
    with pytest.raises(InternalError, match="atomic"):
        build(program.unit(t.update(ref, "+", t.num(1), atomic=True), t.ret(t.num(0))), Target())


def test_map_specs() -> None:
    decl = MapDecl(MapType.HASH, PAIR, lay.U16, 5, flags=1, name="table", pinned=True)
    spec = build(t.Program(maps=[decl]).unit(t.ret(t.num(0))), Target()).maps["table"]
    assert (spec.key_size, spec.value_size, spec.max_entries, spec.flags) == (24, 2, 5, 1)
    assert (spec.key, spec.value, spec.pinning) == (PAIR, lay.U16, Pinning.BY_NAME)


def test_sections_of_variables() -> None:
    decls = [
        GlobalDecl(lay.U8, 0, name="zero"),
        GlobalDecl(lay.U64, 5, name="five"),
        GlobalDecl(lay.U8, 3, name="three"),
        GlobalDecl(lay.U32, 7, name="seven"),
        GlobalDecl(lay.U16, 9, constant=True, name="nine"),
        GlobalDecl(lay.U8, 0, name="own", section=".data.own"),
    ]
    data = build(t.Program(globals=decls).unit(t.ret(t.num(0))), Target()).data
    places = {v.name: (section.name, v.offset) for section in data.values() for v in section.variables}
    assert places == {
        "zero": (".bss", 0),
        "five": (".data", 0),
        "three": (".data", 8),
        "seven": (".data", 12),
        "nine": (".rodata", 0),
        "own": (".data.own", 0),
    }
    assert bytes(data[".data"].contents) == (5).to_bytes(8, "little") + b"\3\0\0\0" + b"\7\0\0\0"


@pytest.mark.parametrize(
    ("value", "layout", "little", "big"),
    [
        (-2, lay.I16, b"\xfe\xff", b"\xff\xfe"),
        (0x1234, lay.BE16, b"\x12\x34", b"\x12\x34"),
        (0x1234, lay.LE32, b"\x34\x12\0\0", b"\x34\x12\0\0"),
        (b"ab", lay.BytesType(4), b"ab\0\0", b"ab\0\0"),
        ([1, 2], lay.ArrayType(lay.U16, 3), b"\1\0\2\0\0\0", b"\0\1\0\2\0\0"),
        (None, lay.U32, bytes(4), bytes(4)),
        (
            {"a": 1, "port": 80},
            PAIR,
            b"\1" + bytes(15) + b"\0\x50" + bytes(6),
            b"\0\0\0\1" + bytes(12) + b"\0\x50" + bytes(6),
        ),
        (SimpleNamespace(a=1), PAIR, b"\1" + bytes(23), b"\0\0\0\1" + bytes(20)),
    ],
)
def test_initial_values(value: object, layout: lay.Layout, little: bytes, big: bytes) -> None:
    assert encode(value, layout, Target()) == little
    assert encode(value, layout, BIG) == big


def test_byte_order_of_the_target_decides_about_swaps() -> None:
    program = t.Program(globals=[GlobalDecl(PAIR, None, name="pair")])
    ref = tree.GlobalVar(span=t.AT, decl=program.globals[0], type=Ref(PAIR, Origin.GLOBAL))
    body = (
        t.store(t.field_of(ref, "port"), t.num(80)),
        t.ret(tree.SwapBytes(span=t.AT, bits=16, operand=t.read(t.field_of(ref, "port")), type=U64)),
    )
    unit = program.unit(*body)
    assert print_module(build(unit, Target())).count("bswap.16") == 3
    big = print_module(build(unit, BIG))
    assert "bswap" not in big
    assert big.count("zext.16") == 1


def test_constants_are_shared() -> None:
    program = t.Program()
    numbers = tuple(range(20))
    i, n = t.local("i"), t.local("n")
    loop = tree.ForConstants(span=t.AT, local=i, values=numbers, body=(t.put(n, t.get(i)),), orelse=())
    again = tree.ForConstants(span=t.AT, local=i, values=numbers, body=(t.put(n, t.get(i)),), orelse=())
    module = build(program.unit(t.put(n, t.num(0)), loop, again, t.ret(t.get(n))), Target())
    assert [v.size for v in module.data[".rodata"].variables] == [20]
    assert module.data[".rodata"].variables[0].static


# ---------------------------------------------------------------- how functions are called


def test_records() -> None:
    captured = t.local("captured")
    everything = t.function(
        "everything",
        (t.local("a"),),
        t.ref(PAIR),
        raises=frozenset({tree.Exc.OS}),
        captures=(captured,),
    )
    plain = t.function("plain", (t.local("a"),), I64)
    frames = frames_of([everything, plain])
    record = frames[everything].record
    assert record is not None
    assert (record.exception, record.state, record.result, record.size) == (0, None, 8, 40)
    assert record.captures == ((captured, 32),)
    assert [type_ for _, type_, _ in frames[everything].params][1:] == [PtrTy(Space.STACK, 40)]
    assert frames[plain].record is None
    assert frames[plain].calling is Calling.CALL


def test_references_to_the_callers_memory_are_returned_by_inlining() -> None:
    p = t.local("p", Ref(PAIR, Origin.CALLER))
    same = t.function("same", (p,), Ref(PAIR, Origin.CALLER), t.ret(t.get(p)))
    assert frames_of([same])[same].inlining is Inlining.ALWAYS


def test_functions_are_found_through_calls_and_handles() -> None:
    leaf = t.function("leaf", (), NONE, t.ret())
    middle = t.function("middle", (), NONE, t.do(t.call(leaf)), t.ret())
    unit = t.Program().unit(t.do(t.call(middle)), t.ret(t.num(0)))
    assert [f.name for f in reachable(unit.programs)] == ["main", "middle", "leaf"]
    assert set(build(unit, Target()).functions) == {"main", "middle", "leaf"}


def test_alignment_follows_assignments_and_calls() -> None:
    text = lay.BytesType(4)
    nested = lay.struct_type("Nested", [("a", lay.U32), ("text", text), ("odd", lay.U8), ("rest", text)])
    n = t.local("n", t.ref(nested))
    good, bad, parameter = (
        t.local("good", t.ref(text)),
        t.local("bad", t.ref(text)),
        t.local("p", Ref(text, Origin.CALLER)),
    )
    callee = t.function("callee", (parameter,), NONE, t.ret())
    unit = t.Program().unit(
        t.put(n, t.new(nested)),
        t.put(good, t.field_of(t.get(n), "text")),
        t.put(bad, t.field_of(t.get(n), "rest")),
        t.do(t.call(callee, t.get(good))),
        t.do(t.call(callee, t.slice_of(t.get(good), 2, 4))),
        t.ret(t.num(0)),
    )
    known = facts(frames_of(reachable(unit.programs)))
    assert [known.alignments[local] for local in (n, good, bad, parameter)] == [8, 4, 1, 2]
    assert known.parts == {parameter}
