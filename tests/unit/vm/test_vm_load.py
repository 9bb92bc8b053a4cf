"""Objects in the machine: callbacks, sharing of maps and data, nothing left behind."""

from __future__ import annotations

import gc
import struct

import pytest

from pyebpf import btf
from pyebpf.backend import insn as isa
from pyebpf.backend.insn import Alu, Insn, Source
from pyebpf.object import (
    DataSection,
    Extern,
    FunctionSpec,
    MapSpec,
    ObjectSpec,
    ProgramSpec,
    Relocation,
    RelocKind,
    Variable,
)
from pyebpf.runtime.errors import ObjectError, UnsupportedObject
from pyebpf.runtime.maps import MappingMap
from pyebpf.runtime.vm.errors import EndlessLoop, MissingHelper, OutOfBounds
from pyebpf.runtime.vm.load import load
from pyebpf.uapi.constants import MapType, ProgType

FRAME = bytes(64)
EXIT = Insn(isa.EXIT)


def mov(dst: int, imm: int) -> Insn:
    return Insn(isa.alu(Alu.MOV, Source.K), dst, imm=imm)


def loops(count: int, callback: tuple[Insn, ...]) -> ObjectSpec:
    """bpf_loop: r0 is how often the callback ran; the context of the callback is 0."""
    code = (mov(1, count), Insn(isa.LD_IMM64, 2), mov(3, 0), mov(4, 0), Insn(isa.CALL, imm=181), EXIT)
    program = ProgramSpec(
        "main",
        isa.encode(code),
        relocations=(Relocation(1, RelocKind.FUNC, "each"),),
        prog_type=ProgType.XDP,
        section="xdp",
    )
    return ObjectSpec(
        programs={"main": program}, functions={"each": FunctionSpec("each", isa.encode(callback))}
    )


def counts() -> ObjectSpec:
    """Adds 1 to the first element of the map ``found`` and to the variable ``x``."""
    code = (
        Insn(isa.st(4), 10, 0, -4, 0),
        Insn(isa.LD_IMM64, 1),
        Insn(isa.alu(Alu.MOV, Source.X), 2, 10),
        Insn(isa.alu(Alu.ADD, Source.K), 2, imm=-4),
        Insn(isa.CALL, imm=1),
        mov(1, 1),
        Insn(isa.atomic(8), 0, 1),
        Insn(isa.LD_IMM64, 2),
        Insn(isa.atomic(8), 2, 1),
        mov(0, 0),
        EXIT,
    )
    relocations = (Relocation(1, RelocKind.MAP, "found"), Relocation(8, RelocKind.DATA, "x", ".data"))
    program = ProgramSpec(
        "main", isa.encode(code), relocations=relocations, prog_type=ProgType.XDP, section="xdp"
    )
    return ObjectSpec(
        programs={"main": program},
        maps={"found": MapSpec("found", MapType.ARRAY, 4, 8, 1)},
        data={".data": DataSection(".data", bytearray(8), [Variable("x", 0, 8)])},
    )


def test_a_callback_is_called_with_its_arguments() -> None:
    stop_at_five = (
        mov(0, 0),
        Insn(isa.jump(isa.Jmp.JNE, Source.K), 1, 0, 1, 5),
        mov(0, 1),
        EXIT,
    )
    with load(loops(20, stop_at_five)) as loaded:
        assert loaded.programs["main"].run(FRAME).verdict == 6
        # 6 instructions of the program; of the callback 3 in each round but the last.
        assert loaded.programs["main"].instructions == 6 + 5 * 3 + 4


def test_callbacks_use_the_budget_up() -> None:
    with load(loops(1000, (mov(0, 0), EXIT)), budget=500) as loaded, pytest.raises(EndlessLoop) as found:
        loaded.programs["main"].run(FRAME)
    assert found.value.where is not None


def test_an_error_in_a_callback_is_told_at_its_place_there() -> None:
    with load(loops(3, (Insn(isa.ldx(1), 0, 1, 0), EXIT))) as loaded, pytest.raises(OutOfBounds) as found:
        loaded.programs["main"].run(FRAME)
    assert found.value.where is not None
    assert (found.value.where.function, found.value.where.slot) == ("each", 0)


def test_objects_share_maps_and_data() -> None:
    with load(counts()) as first:
        second = load(counts(), maps=first.maps, data=first.data)
        first.programs["main"].run(FRAME)
        second.programs["main"].run(FRAME, repeat=3)
        second.close()
        found = first.maps["found"]
        assert isinstance(found, MappingMap)
        assert found[0] == struct.pack("<Q", 4)
        assert first.data[".data"].read("x") == struct.pack("<Q", 4)


def test_each_load_has_maps_and_data_of_its_own() -> None:
    for _ in range(2):
        with load(counts()) as loaded:
            loaded.programs["main"].run(FRAME)
            assert loaded.data[".data"].read("x") == struct.pack("<Q", 1)


def test_a_map_that_does_not_fit_is_refused() -> None:
    other = counts()
    other.maps["found"].max_entries = 2
    with load(other) as first, pytest.raises(ObjectError, match="max_entries 2 instead of 1"):
        load(counts(), maps=first.maps)


def test_maps_that_the_object_does_not_have_are_refused() -> None:
    with load(counts()) as first, pytest.raises(ObjectError, match="no map 'found'"):
        load(loops(1, (mov(0, 0), EXIT)), maps=first.maps)


def test_nothing_is_left_behind() -> None:
    with load(counts()) as loaded:
        program = loaded.programs["main"]
        program.run(FRAME)
        memory = program.code.machine.memory
        gc.collect()
        memory.sweep()
        before = len(memory.pages)
        for _ in range(3):
            with load(counts()) as again:
                again.programs["main"].run(FRAME)
            with load(loops(2, (mov(0, 0), EXIT))) as again:
                again.programs["main"].run(FRAME)
        del again
        gc.collect()
        memory.sweep()
        assert len(memory.pages) == before


def test_more_packets_than_there_are_low_addresses() -> None:
    with load(loops(1, (mov(0, 0), EXIT))) as loaded:
        for _ in range(600):
            assert loaded.programs["main"].run(FRAME).data == FRAME


def _kernel_function(kind: RelocKind, weak: bool) -> ObjectSpec:
    first = Insn(isa.LD_IMM64, 0) if kind is RelocKind.EXTERN else Insn(isa.CALL, src=1, imm=-1)
    program = ProgramSpec(
        "main",
        isa.encode((first, EXIT)),
        relocations=(Relocation(0, kind, "bpf_some"),),
        prog_type=ProgType.XDP,
        section="xdp",
    )
    extern = Extern("bpf_some", ".ksyms", btf.Func("bpf_some", btf.FuncProto(btf.INT)), weak)
    return ObjectSpec(programs={"main": program}, externs={"bpf_some": extern})


def test_a_kernel_function_is_missing_when_it_is_called() -> None:
    with load(_kernel_function(RelocKind.KFUNC, False)) as loaded, pytest.raises(MissingHelper) as found:
        loaded.programs["main"].run(FRAME)
    assert found.value.message == "the built-in machine does not have the kernel function bpf_some"


def test_the_address_of_a_weak_kernel_function_is_zero() -> None:
    with load(_kernel_function(RelocKind.EXTERN, True)) as loaded:
        assert loaded.programs["main"].run(FRAME).verdict == 0
    with pytest.raises(UnsupportedObject, match="bpf_some"):
        load(_kernel_function(RelocKind.EXTERN, False))


def test_frames_are_zero_at_each_call() -> None:
    code = (Insn(isa.ldx(8), 0, 10, -8), Insn(isa.st(8), 10, 0, -8, 7), EXIT)
    program = ProgramSpec("main", isa.encode(code), prog_type=ProgType.XDP, section="xdp")
    with load(ObjectSpec(programs={"main": program})) as loaded:
        assert [loaded.programs["main"].run(FRAME).verdict for _ in range(2)] == [0, 0]
