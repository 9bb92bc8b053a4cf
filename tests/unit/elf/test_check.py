"""A spec that breaks a rule is a bug of ours and is never written."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyebpf import btf
from pyebpf.backend.elf import write_object
from pyebpf.diagnostics import InternalError
from pyebpf.layout import U32, U64
from pyebpf.object import (
    CoreRelocation,
    DataSection,
    LineInfo,
    Linkage,
    MapSpec,
    ObjectSpec,
    Pinning,
    Relocation,
    RelocKind,
    Variable,
)
from pyebpf.uapi.constants import AttachType, MapType, ProgType
from tests.unit.elf.samples import Code, full, minimal, tables


def _rename(spec: ObjectSpec) -> None:
    spec.programs["pass_all"].name = "other"


def _odd_name(spec: ObjectSpec) -> None:
    program = spec.programs.pop("pass_all")
    program.name = "grün"
    spec.programs["grün"] = program


def _two_of_a_name(spec: ObjectSpec) -> None:
    spec.maps["pass_all"] = MapSpec("pass_all", MapType.ARRAY, 4, 4, 1, key=U32, value=U32)


def _prefix(spec: ObjectSpec) -> None:
    spec.programs["pass_all"].section = "maps/x"


def _static_program(spec: ObjectSpec) -> None:
    spec.programs["pass_all"].linkage = Linkage.STATIC


def _subprogram_elsewhere(spec: ObjectSpec) -> None:
    spec.functions["f"] = Code().exit(0).function("f")
    spec.functions["f"].section = "xdp"


def _no_code(spec: ObjectSpec) -> None:
    spec.programs["pass_all"].code = b""


def _half_an_instruction(spec: ObjectSpec) -> None:
    program = spec.programs["pass_all"]
    program.code += b"\x18" + bytes(7)


def _no_first_line(spec: ObjectSpec) -> None:
    program = spec.programs["pass_all"]
    program.lines = program.lines[1:]


def _line_beside(spec: ObjectSpec) -> None:
    program = spec.programs["pass_all"]
    program.lines = (*program.lines, LineInfo(9, "f", 1, 1, ""))


def _lines_in_disorder(spec: ObjectSpec) -> None:
    program = spec.programs["pass_all"]
    program.lines = (*program.lines, program.lines[0])


def _relocate(relocation: Relocation, code: Code | None = None) -> Callable[[ObjectSpec], None]:
    def change(spec: ObjectSpec) -> None:
        made = (code or Code().load(1, RelocKind.MAP, "x")).exit(0)
        program = made.program("pass_all", "xdp", ProgType.XDP, AttachType.XDP)
        program.relocations, program.lines = (relocation,), ()
        spec.programs["pass_all"] = program

    return change


def _data(section: DataSection) -> Callable[[ObjectSpec], None]:
    def change(spec: ObjectSpec) -> None:
        spec.data[section.name] = section

    return change


def _map(entry: MapSpec) -> Callable[[ObjectSpec], None]:
    def change(spec: ObjectSpec) -> None:
        spec.maps[entry.name] = entry

    return change


def _unnamed_parameter(spec: ObjectSpec) -> None:
    proto = btf.FuncProto(btf.INT, (btf.Param("", btf.Ptr(None)),))
    spec.programs["pass_all"].type = btf.Func("pass_all", proto)


def _odd_member(spec: ObjectSpec) -> None:
    struct = btf.Struct("s", 4, (btf.Member("a-b", btf.U32, 0),))
    spec.data[".data"] = DataSection(".data", bytearray(4), [Variable("v", 0, 4, struct)])


def _members_in_disorder(spec: ObjectSpec) -> None:
    struct = btf.Struct("s", 8, (btf.Member("a", btf.U32, 32), btf.Member("b", btf.U32, 0)))
    spec.data[".data"] = DataSection(".data", bytearray(8), [Variable("v", 0, 8, struct)])


def _core(opcode: int, imm: int, kind: int, access: str) -> Callable[[ObjectSpec], None]:
    def change(spec: ObjectSpec) -> None:
        pair = btf.Struct("pair", 8, (btf.Member("a", btf.U32, 0), btf.Member("b", btf.U32, 32)))
        made = (
            Code().op(opcode, 1, 1, 4, imm).exit(0).program("pass_all", "xdp", ProgType.XDP, AttachType.XDP)
        )
        made.core = (CoreRelocation(0, kind, pair, access),)
        spec.programs["pass_all"] = made

    return change


INNER = MapSpec("x.inner", MapType.ARRAY, 4, 8, 4, key=U32, value=U64, pinning=Pinning.BY_NAME)
VIOLATIONS: dict[str, Callable[[ObjectSpec], None]] = {
    "'other' is listed as 'pass_all'": _rename,
    "cannot be the name of a symbol": _odd_name,
    "two symbols are called 'pass_all'": _two_of_a_name,
    "a program in section 'maps/x'": _prefix,
    "cannot be seen from outside": _static_program,
    "a subprogram in section 'xdp'": _subprogram_elsewhere,
    "0 bytes of code": _no_code,
    "the last instruction is cut off": _half_an_instruction,
    "no line information at the first instruction": _no_first_line,
    "slot 9 is no instruction": _line_beside,
    "slot 0 comes after 1": _lines_in_disorder,
    "symbol='nowhere'.* refers to nothing": _relocate(Relocation(0, RelocKind.MAP, "nowhere")),
    "kind=<RelocKind.FUNC.* refers to nothing": _relocate(Relocation(0, RelocKind.FUNC, "pass_all")),
    "section='.data'.* refers to nothing": _relocate(Relocation(0, RelocKind.DATA, "", ".data", 4)),
    "kind=<RelocKind.CALL.* not in normal form": _relocate(Relocation(0, RelocKind.CALL, "pass_all")),
    "kind=<RelocKind.MAP.* not in normal form": _relocate(
        Relocation(0, RelocKind.MAP, "x"), Code().op(0x18, 1, imm=4).op(0)
    ),
    "a data section called '.mydata'": _data(DataSection(".mydata", bytearray(4))),
    "is not all zero": _data(DataSection(".bss", bytearray(b"\1"))),
    "overlaps another one": _data(
        DataSection(".data", bytearray(8), [Variable("a", 0, 8), Variable("b", 4, 4)])
    ),
    "ends at 8": _data(DataSection(".data", bytearray(4), [Variable("a", 0, 8)])),
    "its type more": _data(DataSection(".data", bytearray(4), [Variable("a", 0, 4, btf.U64)])),
    "the key has 8 bytes": _map(MapSpec("x", MapType.HASH, 8, 4, 1, key=U32, value=U32)),
    "its inner map has pinning": _map(MapSpec("x", MapType.ARRAY_OF_MAPS, 4, 4, 1, inner=INNER)),
    "has initial values but no inner map": _map(MapSpec("x", MapType.HASH, 4, 4, 1, slots={0: "x"})),
    "its initial value 'none' does not exist": _map(
        MapSpec("x", MapType.PROG_ARRAY, 4, 4, 1, slots={0: "none"})
    ),
    "without its contents": _map(MapSpec("x", MapType.STRUCT_OPS, 4, 4, 1)),
    "at an instruction that takes none": _core(0xBF, 0, 0, "0:1"),
    "holds 4, the program's types say 0": _core(0x61, 0, 0, "0:0"),
    "holds 7, the program's types say 4": _core(0xB7, 7, 1, "0:1"),
    "has no part 2": _core(0xB7, 7, 0, "0:2"),
    "is no access string": _core(0xB7, 7, 0, "0:x"),
    "13 is not a valid CoreKind": _core(0xB7, 7, 13, "0"),
    "a parameter without name": _unnamed_parameter,
    "'a-b' in .* is no name": _odd_member,
    "not in the order of their offsets": _members_in_disorder,
}


@pytest.mark.parametrize("words", VIOLATIONS)
def test_a_violation_is_reported(words: str) -> None:
    spec = minimal()
    write_object(spec)
    VIOLATIONS[words](spec)
    with pytest.raises(InternalError, match=words):
        write_object(spec)


@pytest.mark.parametrize("sample", [minimal, full, tables])
def test_good_specs_pass(sample: Callable[[], ObjectSpec]) -> None:
    assert write_object(sample())[:4] == b"\x7fELF"
