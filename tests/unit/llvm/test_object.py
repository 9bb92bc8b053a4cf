"""What is taken over from LLVM's object file: code in its normal form, relocations, types, lines, names."""

from __future__ import annotations

import textwrap

import pytest

from pyebpf import btf
from pyebpf.backend.elf import read_object, write_object
from pyebpf.backend.insn import CALL, LD_IMM64, Insn, decode
from pyebpf.backend.llvm import LlvmRefused, compile_with_llvm
from pyebpf.ir.text import parse_module
from pyebpf.object import FunctionSpec, Linkage, ObjectSpec, Relocation, RelocKind
from pyebpf.target import Isa, Target
from pyebpf.uapi.constants import ProgType

MODULE = """\
license "GPL"
map @words ARRAY key 4 value 8 entries 4
map @more ARRAY key 4 value 8 entries 4
data ".data" align 8 contents "0100000000000000020000000000000003000000000000000400000000000000"
var ".data" "same" at 0 size 8
var ".data" "wide" at 8 size 24
data ".bss" align 8 contents "0000000000000000"
var ".bss" "other" at 0 size 8

func entry xdp @main(%ctx: ptr<ctx>) -> i64 {
entry:
  %key = alloca 4 align 4 "key"
  %zero = const i64 0
  store.4 %key + 0, %zero
  %more = map @more
  %gone = helper map_delete_elem(%more, %key): i64
  %same = global ptr<global:8> ".data" "same"
  %other = global ptr<global:8> ".bss" "other"
  %wide = global ptr<global:24> ".data" "wide"
  %a = load.8 i64 %same + 0
  %b = load.8 i64 %wide + 16
  %sum = add i64 %a, %b
  store.8 %other + 0, %sum
  %words = map @words
  %left = helper map_delete_elem(%words, %key): i64
  %state = alloca 8 align 8 "state"
  store.8 %state + 0, %zero
  %body = func @body
  %runs = helper loop(%sum, %body, %state, %zero): i64
  %checked = call @größe(%runs): i64
  %small = call @small(%checked): i64
  %big = call @big(%checked): i64
  %result = add i64 %small, %big
  return %result
}

func entry socket_filter @second(%ctx: ptr<ctx>) -> i64 {
entry:
  %one = const i64 1
  %big = call @big(%one): i64
  return %big
}

func callback @body(%index: i64, %state: ptr<stack:8>) -> i64 {
entry:
  store.8 %state + 0, %index
  %0 = const i64 0
  return %0
}

func global @größe(%n: i64) -> i64 {
entry:
  %0 = const i64 0
  return %0
}

func subprogram @small(%n: i64) -> i64 always {
entry:
  %one = const i64 1
  %r = add i64 %n, %one
  return %r
}

func subprogram @big(%n: i64) -> i64 never {
entry:
  %r = helper ktime_get_ns(): i64
  %s = xor i64 %r, %n
  return %s
}
"""


def compiled(text: str = MODULE, level: Isa = Isa.V3) -> ObjectSpec:
    """The object of a module in text."""
    return compile_with_llvm(parse_module(text), Target(isa=level))


def at(function: FunctionSpec, slot: int) -> Insn:
    """The instruction at ``slot``."""
    position = 0
    for insn in decode(function.code):
        if position == slot:
            return insn
        position += insn.slots
    raise AssertionError(f"no instruction at {slot}")


@pytest.mark.parametrize("level", list(Isa))
def test_programs_maps_and_names(level: Isa) -> None:
    spec = compiled(level=level)
    assert list(spec.programs) == ["main", "second"]
    assert spec.programs["main"].prog_type is ProgType.XDP
    assert spec.programs["second"].section == "socket"
    assert list(spec.maps) == ["words", "more"]
    assert list(spec.data) == [".data", ".bss"]
    assert spec.license == "GPL"
    # `small` was inlined; a global function stays what it is, though its result is known.
    name = btf.identifier("größe")
    assert set(spec.functions) == {"body", name, "big"}
    assert spec.functions[name].linkage is Linkage.GLOBAL
    assert spec.functions["big"].linkage is Linkage.STATIC


def test_relocations_are_in_normal_form() -> None:
    spec = compiled()
    main = spec.programs["main"]
    found: set[tuple[RelocKind, str, str, int]] = set()
    for relocation in main.relocations:
        insn = at(main, relocation.slot)
        if relocation.kind is RelocKind.CALL:
            assert (insn.opcode, insn.src, insn.offset, insn.imm) == (CALL, 1, 0, -1)
        else:
            assert (insn.opcode, insn.src, insn.offset, insn.imm) == (LD_IMM64, 0, 0, 0)
        found.add((relocation.kind, relocation.symbol, relocation.section, relocation.addend))
    assert found == {
        (RelocKind.MAP, "words", "", 0),
        (RelocKind.MAP, "more", "", 0),
        (RelocKind.DATA, "same", ".data", 0),
        (RelocKind.DATA, "other", ".bss", 0),
        (RelocKind.DATA, "wide", ".data", 0),
        (RelocKind.FUNC, "body", "", 0),
        (RelocKind.CALL, btf.identifier("größe"), "", 0),
        (RelocKind.CALL, "big", "", 0),
    }
    (call,) = spec.programs["second"].relocations
    assert call == Relocation(call.slot, RelocKind.CALL, "big")


def test_types_and_lines_are_ours() -> None:
    spec = compiled()
    for function in (*spec.programs.values(), *spec.functions.values()):
        assert function.type is not None and function.type.name == function.name
        assert function.lines[0].slot == 0
        slots = [line.slot for line in function.lines]
        assert slots == sorted(set(slots))
        assert {line.file for line in function.lines} == {"<ir>"}
    state = spec.functions["body"].type
    assert state is not None
    assert [p.name for p in state.proto.params] == ["index", "state"]


def test_the_object_can_be_written_and_read() -> None:
    spec = compiled()
    back = read_object(write_object(spec))
    assert list(back.programs) == list(spec.programs)
    assert {n: f.code for n, f in back.functions.items()} == {n: f.code for n, f in spec.functions.items()}
    assert [r.symbol for r in back.programs["main"].relocations] == [
        r.symbol for r in spec.programs["main"].relocations
    ]


def test_big_endian() -> None:
    spec = compile_with_llvm(parse_module(MODULE), Target(little_endian=False))
    assert not spec.little_endian
    kinds = {r.kind for r in spec.programs["main"].relocations}
    assert kinds == {RelocKind.MAP, RelocKind.DATA, RelocKind.FUNC, RelocKind.CALL}


def test_names_that_mean_something_to_c() -> None:
    text = MODULE.replace("@big", "@memset").replace("@small", "@abort")
    assert "memset" in compiled(text).functions


def test_a_loop_does_not_become_a_call_of_the_library() -> None:
    spec = compiled(
        """\
data ".bss" align 8 contents "{}"
var ".bss" "table" at 0 size 4096

func entry xdp @main(%ctx: ptr<ctx>) -> i64 {{
entry:
  %zero = const i64 0
  %one = const i64 1
  %eight = const i64 8
  %end = const i64 512
  %table = global ptr<global:4096> ".bss" "table"
  jump head
head:
  %i = phi i64 [entry: %zero, body: %next]
  %more = cmp ult %i, %end
  branch %more, body, done
body:
  %offset = mul i64 %i, %eight
  %place = ptradd ptr<global:8> %table, %offset
  store.8 %place + 0, %zero
  %next = add i64 %i, %one
  jump head
done:
  return %zero
}}
""".format("00" * 4096)
    )
    assert [r.kind for r in spec.programs["main"].relocations] == [RelocKind.DATA]


def test_what_does_not_end_gives_a_result() -> None:
    spec = compiled("""\
func entry xdp @main(%ctx: ptr<ctx>) -> i64 {
entry:
  %t = helper ktime_get_ns(): i64
  unreachable
}
""")
    assert not spec.programs["main"].relocations, "LLVM's trap is a kernel function of new kernels"


def test_too_much_stack_is_a_typed_error() -> None:
    with pytest.raises(LlvmRefused, match="BPF stack limit"):
        compiled("""\
func entry xdp @main(%ctx: ptr<ctx>) -> i64 {
entry:
  %a = alloca 520 align 8 "large"
  %size = const i64 520
  %flags = const i64 0
  %r = helper get_current_comm(%a, %size): i64
  return %r
}
""")


def test_values_and_blocks_may_have_one_name() -> None:
    """A block whose name is that of a value with its number behind it."""
    text = """
        func entry xdp @main(%ctx: ptr<ctx> as ctx *) -> i64 {
        entry:
          %reserved = alloca 8 align 8 "reserved"
          %1 = const i64 0
          store.8 %reserved + 0, %1
          %2 = load.8 i64 %reserved + 0
          %3 = cmp eq %2, %1
          branch %3, reserved.1, reserved.2
        reserved.1:
          return %1
        reserved.2:
          return %2
        }
    """
    assert compiled(textwrap.dedent(text).lstrip()).programs["main"].code
