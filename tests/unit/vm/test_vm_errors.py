"""What programs do wrong in the machine: each error with its type, its words and its place."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest

from pyebpf.backend import insn as isa
from pyebpf.backend.insn import Alu, Insn, Jmp, Source
from pyebpf.object import (
    DataSection,
    FunctionSpec,
    LineInfo,
    ObjectSpec,
    ProgramSpec,
    Relocation,
    RelocKind,
    Variable,
)
from pyebpf.runtime.errors import BpfError, ObjectError, UnsupportedObject
from pyebpf.runtime.vm.errors import (
    BadArgument,
    BadCode,
    EndlessLoop,
    MachineError,
    MissingHelper,
    OutOfBounds,
    ReadOnly,
    Uninitialised,
    Where,
)
from pyebpf.runtime.vm.helpers import HELPERS
from pyebpf.runtime.vm.load import MachineObject, load
from pyebpf.uapi.constants import ProgType
from pyebpf.uapi.helpers import helper_by_id

FRAME = bytes(range(64))
EXIT = Insn(isa.EXIT)


def mov(dst: int, imm: int) -> Insn:
    return Insn(isa.alu(Alu.MOV, Source.K), dst, imm=imm)


def add(dst: int, imm: int) -> Insn:
    return Insn(isa.alu(Alu.ADD, Source.K), dst, imm=imm)


def copy(dst: int, src: int) -> Insn:
    return Insn(isa.alu(Alu.MOV, Source.X), dst, src)


def build(
    *insns: Insn,
    functions: Mapping[str, tuple[Insn, ...]] | None = None,
    relocations: tuple[Relocation, ...] = (),
    prog_type: ProgType = ProgType.XDP,
    section: str = ".rodata",
) -> ObjectSpec:
    lines = (LineInfo(0, "first.py", 10, 1, "begin"), LineInfo(2, "first.py", 12, 3, "go on"))
    main = ProgramSpec(
        "main", isa.encode(insns), lines=lines, relocations=relocations, prog_type=prog_type, section="xdp"
    )
    calls = {
        name: tuple(
            Relocation(slot, RelocKind.CALL, "again")
            for slot, insn in enumerate(code)
            if insn.opcode == isa.CALL and insn.src == isa.CallKind.SUBPROGRAM
        )
        for name, code in (functions or {}).items()
    }
    return ObjectSpec(
        programs={"main": main},
        functions={
            name: FunctionSpec(
                name, isa.encode(code), lines=(LineInfo(0, "other.py", 5, 1, ""),), relocations=calls[name]
            )
            for name, code in (functions or {}).items()
        },
        data={section: DataSection(section, bytearray(8), [Variable("x", 0, 8)])},
    )


def run(spec: ObjectSpec, budget: int = 100_000) -> int:
    with load(spec, budget=budget) as loaded:
        return loaded.programs["main"].run(FRAME).verdict


def failure(kind: type[MachineError], spec: ObjectSpec, budget: int = 100_000) -> tuple[str, Where]:
    with pytest.raises(kind) as found:
        run(spec, budget)
    assert type(found.value) is kind
    assert found.value.where is not None
    return found.value.message, found.value.where


CALL = Insn(isa.CALL, src=isa.CallKind.SUBPROGRAM, imm=-1)


def test_a_read_behind_the_packet() -> None:
    spec = build(Insn(isa.ldx(4), 2, 1, 4), mov(3, 0), Insn(isa.ldx(2), 0, 2, -1), EXIT)
    message, where = failure(OutOfBounds, spec)
    assert message == "a read of 2 bytes at offset 63 of the packet, which has 64 bytes"
    assert where == Where("main", 2, "first.py", 12, "go on")


def test_the_text_of_an_error_begins_with_the_place() -> None:
    with pytest.raises(OutOfBounds) as found:
        run(build(mov(2, 0), Insn(isa.st(1), 2, 0, 0, 1), EXIT))
    assert str(found.value) == (
        "first.py:10: main, instruction 1: a write of 1 byte at address 0x0: a null pointer, or a number that is no "
        "pointer"
    )


@pytest.mark.parametrize("width", [1, 2, 4, 8])
@pytest.mark.parametrize("distance", [0, -512 - 1, -700, 8])
def test_accesses_outside_of_the_frame(width: int, distance: int) -> None:
    message, where = failure(OutOfBounds, build(mov(0, 0), Insn(isa.st(width), 10, 0, distance, 1), EXIT))
    assert "the stack frame at depth 0" in message
    assert where.slot == 1


def test_an_access_that_begins_before_the_end_of_the_frame_and_ends_behind() -> None:
    message, _ = failure(OutOfBounds, build(mov(0, 0), Insn(isa.ldx(8), 0, 10, -4), EXIT))
    assert message == "a read of 8 bytes at offset 508 of the stack frame at depth 0, which has 512 bytes"


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_write_to_read_only_data(width: int, direct: bool) -> None:
    relocation = Relocation(0, RelocKind.DATA, "x", ".rodata")
    # A number that the translator does not know hides that the address is that of the section.
    hide = [] if direct else [Insn(isa.ldx(4), 2, 10, -4), Insn(isa.alu(Alu.ADD, Source.X), 3, 2)]
    code = (Insn(isa.LD_IMM64, 3), *hide, Insn(isa.st(width), 3, 0, 0, 1), mov(0, 0), EXIT)
    message, where = failure(ReadOnly, build(*code, relocations=(relocation,)))
    assert message.endswith("to the data section .rodata, which is read-only")
    assert where.slot == 2 + len(hide)


@pytest.mark.parametrize("offset", [-1, 1, 8, 4096])
def test_an_access_outside_of_a_data_section(offset: int) -> None:
    relocation = Relocation(0, RelocKind.DATA, "x", ".rodata")
    code = (Insn(isa.LD_IMM64, 3), Insn(isa.ldx(8), 0, 3, offset), EXIT)
    message, _ = failure(OutOfBounds, build(*code, relocations=(relocation,)))
    assert ".rodata" in message


def test_a_register_that_was_never_written() -> None:
    message, where = failure(Uninitialised, build(mov(1, 1), copy(0, 7), EXIT))
    assert message == "r7 is read here, but nothing was written to it"
    assert where.slot == 1


def test_an_exit_without_a_result() -> None:
    message, where = failure(Uninitialised, build(mov(1, 1), EXIT))
    assert message.startswith("r0 is read")
    assert where.slot == 1


@pytest.mark.parametrize("register", [1, 2, 3, 4, 5])
def test_a_call_destroys_its_arguments(register: int) -> None:
    code = (CALL, copy(0, register), EXIT)
    setup = tuple(mov(r, r) for r in range(1, 6))
    relocation = Relocation(len(setup), RelocKind.CALL, "helper")
    spec = build(*setup, *code, functions={"helper": (mov(0, 1), EXIT)}, relocations=(relocation,))
    message, where = failure(Uninitialised, spec)
    assert message.startswith(f"r{register} is read")
    assert where.slot == 6


def test_a_register_that_only_some_paths_write() -> None:
    def program(limit: int) -> ObjectSpec:
        jump = Insn(isa.jump(Jmp.JGT, Source.K), 2, 0, 1, limit)
        return build(Insn(isa.ldx(1), 2, 10, -1), jump, mov(7, 3), copy(0, 7), EXIT)

    assert run(program(0)) == 3
    # 0 >= 0: the path without the write.
    other = build(
        Insn(isa.ldx(1), 2, 10, -1),
        Insn(isa.jump(Jmp.JGE, Source.K), 2, 0, 1, 0),
        mov(7, 3),
        copy(0, 7),
        EXIT,
    )
    assert failure(Uninitialised, other)[1].slot == 3


def test_registers_of_the_caller_are_not_those_of_the_callee() -> None:
    code = (mov(6, 1), CALL, EXIT)
    spec = build(
        *code,
        functions={"callee": (copy(0, 6), EXIT)},
        relocations=(Relocation(1, RelocKind.CALL, "callee"),),
    )
    message, where = failure(Uninitialised, spec)
    assert message.startswith("r6 is read")
    assert where == Where("callee", 0, "other.py", 5)


def test_a_loop_without_end_uses_the_budget_up() -> None:
    spec = build(mov(0, 0), add(0, 1), Insn(isa.GOTO, offset=-2))
    message, where = failure(EndlessLoop, spec, budget=1000)
    assert "budget" in message
    assert where.slot == 2


def test_exactly_the_instructions_that_ran_are_counted() -> None:
    loop = (mov(0, 0), add(0, 1), Insn(isa.jump(Jmp.JLT, Source.K), 0, 0, -2, 10), EXIT)
    with load(build(*loop)) as loaded:
        assert loaded.programs["main"].run(FRAME).verdict == 10
        assert loaded.programs["main"].instructions == 1 + 2 * 10 + 1
    assert run(build(*loop), budget=22) == 10
    failure(EndlessLoop, build(*loop), budget=15)


def test_calls_nested_too_deep() -> None:
    functions = {"again": (CALL, EXIT)}
    spec = build(CALL, EXIT, functions=functions, relocations=(Relocation(0, RelocKind.CALL, "again"),))
    message, where = failure(BadCode, spec)
    assert message == "calls are nested deeper than 8"
    assert where.function == "again"


def _absent() -> int:
    """A helper of the kernel that the machine lacks."""
    return next(n for n in range(1, 211) if n not in HELPERS and n != 12 and helper_by_id(n) is not None)


@pytest.mark.parametrize("number", [4095, _absent()])
def test_a_helper_that_the_machine_does_not_have(number: int) -> None:
    helper = helper_by_id(number)
    name = f"the helper bpf_{helper.name}" if helper is not None else f"helper number {number}"
    message, where = failure(MissingHelper, build(mov(0, 0), Insn(isa.CALL, imm=number), EXIT))
    assert message == f"the built-in machine does not have {name}"
    assert where.slot == 1


def test_a_missing_helper_that_is_not_reached_is_no_error() -> None:
    assert run(build(mov(0, 4), Insn(isa.GOTO, offset=1), Insn(isa.CALL, imm=4095), EXIT)) == 4
    jump = Insn(isa.jump(Jmp.JEQ, Source.K), 0, 0, 1, 4)
    assert run(build(mov(0, 4), jump, Insn(isa.CALL, imm=4095), EXIT)) == 4


def test_a_helper_refuses_what_is_no_map() -> None:
    message, where = failure(BadArgument, build(copy(2, 10), mov(1, 5), Insn(isa.CALL, imm=1), EXIT))
    assert "map" in message
    assert where.slot == 2


@pytest.mark.parametrize(
    "code",
    [
        (mov(0, 0),),
        (mov(0, 0), Insn(isa.GOTO, offset=5), EXIT),
        (Insn(isa.GOTO, offset=1), Insn(isa.LD_IMM64, 1), EXIT),
        (Insn(isa.GOTO, offset=-5), EXIT),
    ],
    ids=["no exit", "jump behind the end", "jump into a constant", "jump before the start"],
)
def test_code_that_is_none_is_refused_when_it_is_loaded(code: tuple[Insn, ...]) -> None:
    with pytest.raises(BadCode):
        load(build(*code))


def test_unknown_instructions_are_refused_when_they_are_loaded() -> None:
    spec = build(mov(0, 0), EXIT)
    spec.programs["main"].code = struct.pack("<BBhi", 0xFF, 0, 0, 0) + isa.encode([EXIT])
    with pytest.raises(BadCode, match="unknown opcode 0xff"):
        load(spec)


def test_objects_of_the_other_byte_order_are_refused() -> None:
    spec = build(mov(0, 0), EXIT)
    spec.little_endian = False
    with pytest.raises(UnsupportedObject, match="little-endian"):
        load(spec)


def test_input_that_the_kernel_refuses() -> None:
    with load(build(mov(0, 0), EXIT)) as loaded, pytest.raises(ValueError, match="at least 14 bytes"):
        loaded.programs["main"].run(b"short")


def test_a_closed_program_does_not_run() -> None:
    loaded: MachineObject = load(build(mov(0, 0), EXIT))
    loaded.close()
    loaded.close()
    with pytest.raises(ValueError, match="closed"):
        loaded.programs["main"].run(FRAME)


def test_variables_by_name() -> None:
    relocation = Relocation(0, RelocKind.DATA, "x", ".data")
    code = (Insn(isa.LD_IMM64, 3), Insn(isa.st(8), 3, 0, 0, 7), mov(0, 0), EXIT)
    with load(build(*code, relocations=(relocation,), section=".data")) as loaded:
        assert loaded.data[".data"].read("x") == bytes(8)
        loaded.programs["main"].run(FRAME)
        assert loaded.data[".data"].read("x") == bytes([7, 0, 0, 0, 0, 0, 0, 0])
        loaded.data[".data"].write("x", bytes(8))
        assert loaded.data[".data"].read("x") == bytes(8)
        with pytest.raises(KeyError):
            loaded.data[".data"].read("y")
    with load(build(mov(0, 0), EXIT)) as loaded, pytest.raises(BpfError, match="frozen"):
        loaded.data[".rodata"].write("x", bytes(8))


def test_a_program_without_a_type_is_refused() -> None:
    with pytest.raises(ObjectError, match="type of program 'main'"):
        load(build(mov(0, 0), EXIT, prog_type=ProgType.UNSPEC))


def test_the_verdict_is_a_signed_number_of_32_bits() -> None:
    assert run(build(Insn(isa.LD_IMM64, 0, imm=0x1_FFFF_FFFE), EXIT)) == -2
