"""Whole modules: the object's parts, debug information, limits of stack and calls, the listing."""

from __future__ import annotations

import linecache

import pytest

from pyebpf import btf
from pyebpf.backend import insn as isa
from pyebpf.backend.codegen import CallsTooDeep, StackTooLarge, compile_module, compile_with_report
from pyebpf.backend.debuginfo import plain
from pyebpf.backend.listing import listing
from pyebpf.ir.text import parse_module
from pyebpf.object import Linkage, RelocKind
from pyebpf.target import Target
from pyebpf.uapi.constants import AttachType, ProgType

SOURCE = """\
def count(skb: SkBuff) -> int:
    größe = len(skb)   # not ASCII
    return größe
"""

MODULE = """
license "GPL"
file 0 "filter.py"
struct $Key 8 align 4 {slot: u32 @ 0, port: u16 @ 4}
map @m HASH key 8 value 8 entries 16 layouts $Key u64
data ".bss" align 8 contents "0000000000000000"
var ".bss" "hits" at 0 size 8 layout u64
func entry tc_ingress @count(%skb: ptr<ctx> as skb) -> i64 !0:1:1-3:30 {
entry:
  %len = load.4 i64 %skb + 0 !0:2:13-2:21
  %f = func @body !0:2:13-2:21
  %hits = global ptr<global:8> ".bss" "hits" !0:2:13-2:21
  store.8 %hits + 0, %len !0:2:2000-2:2001
  %n = const i64 3
  %zero = const i64 0
  %null = const ptr<stack:8?> 0
  %r = helper loop(%n, %f, %null, %zero): i64 !0:3:12-3:17
  %x = call @grüße(%r, %len, %skb): i64 !0:3:12-3:17
  return %x !0:3:5-3:17
}
func callback @body(%i: i64 as i u32, %s: ptr<stack:16>) -> i64 {
entry:
  %zero = const i64 0
  return %zero
}
func subprogram @grüße(%a: i64 as a u32, %b: i64 as b i64, %c: ptr<ctx> as c) -> i64 as i32 {
entry:
  %s = add i64 %a, %b
  return %s
}
"""


@pytest.fixture(autouse=True)
def _source() -> None:
    linecache.cache["filter.py"] = (len(SOURCE), None, SOURCE.splitlines(keepends=True), "filter.py")


def test_object() -> None:
    spec = compile_module(parse_module(MODULE), Target())
    program = spec.programs["count"]
    assert (program.prog_type, program.attach_type) == (ProgType.SCHED_CLS, AttachType.TCX_INGRESS)
    assert (program.section, program.linkage) == ("classifier", Linkage.GLOBAL)
    assert list(spec.functions) == ["body", "gr_u00fc__u00df_e"]
    assert all(f.linkage is Linkage.STATIC and f.section == ".text" for f in spec.functions.values())
    insns = isa.decode(program.code)
    slots = [sum(i.slots for i in insns[:n]) for n in range(len(insns))]
    assert [(r.kind, r.symbol, r.section) for r in program.relocations] == [
        (RelocKind.DATA, "hits", ".bss"),
        (RelocKind.FUNC, "body", ""),
        (RelocKind.CALL, "gr_u00fc__u00df_e", ""),
    ]
    for relocation in program.relocations:
        insn = insns[slots.index(relocation.slot)]
        wanted = (isa.CALL, 1, -1) if relocation.kind is RelocKind.CALL else (isa.LD_IMM64, 0, 0)
        assert (insn.opcode, insn.src, insn.imm) == wanted
    assert spec.license == "GPL"


def test_types() -> None:
    spec = compile_module(parse_module(MODULE), Target())

    def shown(name: str) -> tuple[str, list[str]]:
        function = {**spec.programs, **spec.functions}[name]
        assert function.type is not None
        return btf.describe(function.type), [p.name for p in function.type.proto.params]

    assert shown("count") == ("count: int (struct __sk_buff *)", ["skb"])
    assert shown("body") == ("body: int (unsigned int, unsigned char[16] *)", ["i", "s"])
    assert shown("gr_u00fc__u00df_e") == (
        "gr_u00fc__u00df_e: int (unsigned int, long long, struct __sk_buff *)",
        ["a", "b", "c"],
    )
    assert spec.programs["count"].type is not None
    assert spec.programs["count"].type.linkage is btf.FuncLinkage.GLOBAL
    assert btf.describe(spec.maps["m"].key_type) == "struct Key"
    assert spec.maps["m"].value_type is btf.U64
    assert spec.data[".bss"].variables[0].type is btf.U64


def test_lines() -> None:
    spec = compile_module(parse_module(MODULE), Target())
    lines = spec.programs["count"].lines
    assert [(line.line, line.column) for line in lines] == [(2, 13), (2, 1023), (3, 12), (3, 5)]
    assert lines[0].slot == 0
    assert lines[0].text == "gr\\xf6\\xdfe = len(skb)   # not ASCII"
    assert [line.slot for line in lines] == sorted({line.slot for line in lines})
    for function in spec.functions.values():
        assert function.lines[0].slot == 0
    assert plain("a\tb\x00…") == "a b \\u2026"


LISTED = """
license "GPL"
file 0 "filter.py"
map @m HASH key 4 value 8 entries 16
func entry xdp @main(%ctx: ptr<ctx> as ctx) -> i64 !0:1:1-3:30 {
entry:
  %zero = const i64 0
  %key = alloca 4 align 4 "key"
  store.4 %key + 0, %zero !0:2:5-2:9
  %map = map @m
  %v = helper map_delete_elem(%map, %key): i64 !0:2:5-2:9
  %r = call @callee(): i64 !0:3:5-3:9
  return %r !0:3:5-3:9
}
func subprogram @callee() -> i64 {
entry:
  %zero = const i64 0
  return %zero
}
"""


def test_listing() -> None:
    assert (
        listing(compile_module(parse_module(LISTED), Target()))
        == """\
main: in section xdp  ; 8 slots
; filter.py:2  gr\\xf6\\xdfe = len(skb)   # not ASCII
     0: *(u32 *)(r10 - 4) = 0
     1: r1 = map m ll
     3: r2 = r10
     4: r2 += -4
     5: call 3
; filter.py:3  return gr\\xf6\\xdfe
     6: call callee
     7: exit

callee:  ; 2 slots
; <ir>:15
     0: r0 = 0
     1: exit
"""
    )


def chain(*frames: int) -> str:
    """Functions that call each other, with a frame of so many bytes each; the first is the program."""
    out = ['license "GPL"']
    for number, size in enumerate(frames):
        head = "func entry xdp @f0(%ctx: ptr<ctx>)" if number == 0 else f"func subprogram @f{number}(%p: i64)"
        out += [f"{head} -> i64 {{", "entry:", "  %zero = const i64 0"]
        if size:
            out += [f'  %a = alloca {size} align 8 "big{number}"', f"  memzero %a + 0, {size} align 8"]
        result = "%zero"
        if number + 1 < len(frames):
            result = "%r"
            out.append(f"  %r = call @f{number + 1}(%zero): i64")
        out += [f"  return {result}", "}"]
    return "\n".join(out) + "\n"


def test_report() -> None:
    reports = compile_with_report(parse_module(chain(100, 0, 40)), Target()).reports
    # Frames are counted in units of 32 bytes, an empty one as one.
    assert {n: (r.stack, r.chain) for n, r in reports.items()} == {
        "f0": (104, 128 + 32 + 64),
        "f1": (0, 32 + 64),
        "f2": (40, 64),
    }
    assert reports["f1"].slots == 3


@pytest.mark.parametrize("frames", [(512,), (448, 64), (32,) * 8])
def test_stack_that_just_fits(frames: tuple[int, ...]) -> None:
    compile_module(parse_module(chain(*frames)), Target())


@pytest.mark.parametrize(
    ("frames", "needed", "labels"),
    [((520,), 544, ["big0"]), ((480, 0, 8), 544, ["big0", "big2"]), ((256, 264), 544, ["big0", "big1"])],
)
def test_stack_too_large(frames: tuple[int, ...], needed: int, labels: list[str]) -> None:
    with pytest.raises(StackTooLarge) as caught:
        compile_module(parse_module(chain(*frames)), Target())
    error = caught.value
    assert error.needed == needed
    assert [s.label for r in error.chain for s in r.frame] == labels
    assert error.function.name == "f0"


def test_calls_too_deep() -> None:
    with pytest.raises(CallsTooDeep) as caught:
        compile_module(parse_module(chain(*(0,) * 9)), Target())
    assert caught.value.chain == tuple(f"f{i}" for i in range(9))


def test_observer_sees_every_stage() -> None:
    seen: dict[str, str] = {}
    compile_module(parse_module(MODULE), Target(), observer=seen.__setitem__)
    assert list(seen) == ["machine", "allocated"]
    assert all(text.count("function ") == 3 for text in seen.values())


def test_big_endian() -> None:
    """Byte order is swapped by the instruction that does so there, and the code is in that order."""
    module = """
func subprogram @swap(%a: i64) -> i64 {
entry:
  %s = bswap.32 i64 %a
  return %s
}
"""
    spec = compile_module(parse_module(module), Target(little_endian=False))
    assert not spec.little_endian
    code = spec.functions["swap"].code
    insns = isa.decode(code, little_endian=False)
    assert isa.END_TO_LE in {i.opcode for i in insns}
    assert isa.encode(insns) != code
