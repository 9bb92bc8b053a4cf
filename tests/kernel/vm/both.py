"""Programs of a few instructions, run on the kernel's JIT and in the built-in machine on the same bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pyebpf import btf
from pyebpf.backend import insn as isa
from pyebpf.backend.insn import Insn
from pyebpf.object import DataSection, FunctionSpec, ObjectSpec, ProgramSpec, Relocation, RelocKind, Variable
from pyebpf.runtime.load import load as load_kernel
from pyebpf.runtime.vm.load import load as load_machine
from pyebpf.uapi.constants import ProgType

INPUT = 64
FRAME = bytes(64)
EDGES = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x8000,
    0xFFFF,
    31,
    32,
    63,
    64,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    0x1_0000_0000,
    0x7FFF_FFFF_FFFF_FFFF,
    0x8000_0000_0000_0000,
    0xFFFF_FFFF_FFFF_FFFF,
    0xFFFF_FFFF_8000_0000,
)
IMMEDIATES = (0, 1, 2, 3, 7, 31, 0x7F, 0xFF, 0xFFFF, 0x7FFF_FFFF, -1, -2, -128, -0x8000_0000, 12345, -98765)


def operand(rng: random.Random) -> int:
    """A number of 64 bits: an edge, a short one, or any."""
    match rng.randrange(3):
        case 0:
            return rng.choice(EDGES)
        case 1:
            return rng.getrandbits(rng.randrange(1, 64))
        case _:
            return rng.getrandbits(64)


def goto(distance: int) -> Insn:
    """An unconditional jump."""
    return Insn(isa.GOTO, offset=distance)


def mov(dst: int, imm: int) -> Insn:
    """dst = imm."""
    return Insn(isa.alu(isa.Alu.MOV, isa.Source.K), dst, imm=imm)


def copy(dst: int, src: int) -> Insn:
    """dst = src."""
    return Insn(isa.alu(isa.Alu.MOV, isa.Source.X), dst, src)


EXIT = Insn(isa.EXIT)


@dataclass(slots=True)
class Code:
    """A function that grows; ``data`` and ``call`` leave relocations."""

    insns: list[Insn] = field(default_factory=list)
    relocations: list[Relocation] = field(default_factory=list)

    @property
    def slot(self) -> int:
        """Where the next instruction goes."""
        return sum(insn.slots for insn in self.insns)

    def add(self, *insns: Insn) -> None:
        """Append instructions."""
        self.insns += insns

    def data(self, register: int) -> None:
        """register = the address of the data section."""
        self.relocations.append(Relocation(self.slot, RelocKind.DATA, "", ".data"))
        self.add(Insn(isa.LD_IMM64, register))

    def map(self, register: int, name: str) -> None:
        """register = the map."""
        self.relocations.append(Relocation(self.slot, RelocKind.MAP, name))
        self.add(Insn(isa.LD_IMM64, register))

    def function(self, register: int, name: str) -> None:
        """register = the address of a function."""
        self.relocations.append(Relocation(self.slot, RelocKind.FUNC, name))
        self.add(Insn(isa.LD_IMM64, register))

    def call(self, name: str) -> None:
        """Call a function."""
        self.relocations.append(Relocation(self.slot, RelocKind.CALL, name))
        self.add(Insn(isa.CALL, src=isa.CallKind.SUBPROGRAM, imm=-1))

    def helper(self, number: int) -> None:
        """Call a helper."""
        self.add(Insn(isa.CALL, imm=number))

    def load(self, dst: int, src: int, offset: int, width: int = 8) -> None:
        """dst = *(src + offset)."""
        self.add(Insn(isa.ldx(width), dst, src, offset))

    def store(self, dst: int, offset: int, src: int, width: int = 8) -> None:
        """*(dst + offset) = src."""
        self.add(Insn(isa.stx(width), dst, src, offset))

    def bytes(self) -> bytes:
        """The code."""
        return isa.encode(self.insns)


def _type(name: str, count: int, linkage: btf.FuncLinkage = btf.FuncLinkage.STATIC) -> btf.Func:
    """The kernel takes the address only of functions that have a type."""
    params = tuple(btf.Param(f"p{n}", btf.Ptr(None)) for n in range(count))
    return btf.Func(name, btf.FuncProto(btf.INT, params), linkage)


def spec(
    code: Code,
    results: int = 8,
    functions: dict[str, Code] | None = None,
    prog_type: ProgType = ProgType.SOCKET_FILTER,
) -> ObjectSpec:
    """An object with the program ``main`` and a data section: ``input`` and, behind it, ``output``."""
    variables = [Variable("input", 0, INPUT), Variable("output", INPUT, results)]
    section = DataSection(".data", bytearray(INPUT + results), variables)
    program = ProgramSpec(
        "main",
        code.bytes(),
        relocations=tuple(code.relocations),
        section="socket",
        prog_type=prog_type,
        type=_type("main", 1, btf.FuncLinkage.GLOBAL) if functions else None,
    )
    return ObjectSpec(
        programs={"main": program},
        functions={
            name: FunctionSpec(name, f.bytes(), relocations=tuple(f.relocations), type=_type(name, 2))
            for name, f in (functions or {}).items()
        },
        data={".data": section},
        license="GPL",
    )


@dataclass(slots=True)
class Pair:
    """An object in both worlds."""

    worlds: tuple[Any, Any]

    def run(self, data: bytes, frame: bytes = FRAME) -> tuple[int, bytes]:
        """Run ``main`` in both on the same input; the verdict and the output, which must agree."""
        found = []
        for world in self.worlds:
            loaded = world.data[".data"]
            loaded.write("input", data.ljust(INPUT, b"\0"))
            loaded.write("output", bytes(loaded.section.variable("output").size))
            verdict = world.programs["main"].run(frame).verdict
            found.append((verdict, bytes(loaded.read("input")), bytes(loaded.read("output"))))
        kernel, machine = found
        assert kernel == machine, f"input {data.hex()}: kernel {kernel}, machine {machine}"
        return kernel[0], kernel[2]


@contextmanager
def both(built: ObjectSpec) -> Iterator[Pair]:
    """``built`` in the kernel and in the machine."""
    with load_kernel(built) as kernel, load_machine(built) as machine:
        yield Pair((kernel, machine))
