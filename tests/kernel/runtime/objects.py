"""Objects made by hand for the tests of the loader: a few instructions each, without the compiler."""

from __future__ import annotations

from collections.abc import Iterable

from pyebpf import btf
from pyebpf.backend.insn import (
    CALL,
    EXIT,
    LD_IMM64,
    Alu,
    Insn,
    Jmp,
    Source,
    alu,
    atomic,
    encode,
    jump,
    st,
    stx,
)
from pyebpf.object import (
    FunctionSpec,
    LineInfo,
    Linkage,
    MapSpec,
    ObjectSpec,
    ProgramSpec,
    Relocation,
    RelocKind,
)
from pyebpf.runtime.load import LoadedObject, load
from pyebpf.uapi.constants import AttachType, MapType, ProgType

FRAME = bytes(12) + b"\x08\x00" + bytes(range(50))
"""64 bytes with an Ethernet header of IPv4."""

MAP_LOOKUP = 1
RINGBUF_OUTPUT = 130
TAIL_CALL = 12
TRACE_PRINTK = 6
BPF_LOOP = 181


def mov(dst: int, value: int) -> Insn:
    """``dst = value`` (32-bit constant, sign-extended)."""
    return Insn(alu(Alu.MOV, Source.K), dst, imm=value)


def copy(dst: int, src: int) -> Insn:
    """``dst = src``."""
    return Insn(alu(Alu.MOV, Source.X), dst, src)


def add(dst: int, value: int) -> Insn:
    """``dst += value``."""
    return Insn(alu(Alu.ADD, Source.K), dst, imm=value)


def call(helper: int) -> Insn:
    """Call a helper."""
    return Insn(CALL, imm=helper)


def address(dst: int) -> Insn:
    """``ld_imm64`` to be relocated."""
    return Insn(LD_IMM64, dst)


def store(offset: int, value: int, width: int = 4) -> Insn:
    """``*(r10 + offset) = value``."""
    return Insn(st(width), 10, offset=offset, imm=value)


def if_null(dst: int, skip: int) -> Insn:
    """Skip ``skip`` slots if ``dst`` is 0."""
    return Insn(jump(Jmp.JEQ, Source.K), dst, offset=skip)


def atomic_add(dst: int, src: int) -> Insn:
    """``lock *(u64 *)dst += src``."""
    return Insn(atomic(8), dst, src)


def store_reg(dst: int, offset: int, src: int, width: int = 8) -> Insn:
    """``*(dst + offset) = src``."""
    return Insn(stx(width), dst, src, offset)


exit_ = Insn(EXIT)


def func_type(name: str, *, static: bool = False) -> btf.Func:
    """The BTF of ``int name(void *ctx)``."""
    proto = btf.FuncProto(btf.INT, (btf.Param("ctx", btf.Ptr(None)),))
    return btf.Func(name, proto, btf.FuncLinkage.STATIC if static else btf.FuncLinkage.GLOBAL)


def program(
    insns: Iterable[Insn],
    prog_type: ProgType = ProgType.SOCKET_FILTER,
    *,
    name: str = "prog",
    relocations: tuple[Relocation, ...] = (),
    attach_type: AttachType | None = None,
    flags: int = 0,
    lines: tuple[LineInfo, ...] = (),
) -> ProgramSpec:
    """An entry program with func_info."""
    return ProgramSpec(
        name,
        encode(list(insns)),
        Linkage.GLOBAL,
        relocations,
        lines,
        type=func_type(name),
        prog_type=prog_type,
        attach_type=attach_type,
        flags=flags,
        section="test",
    )


def subprogram(
    insns: Iterable[Insn], name: str, *, relocations: tuple[Relocation, ...] = (), static: bool = True
) -> FunctionSpec:
    """A subprogram with func_info."""
    return FunctionSpec(
        name,
        encode(list(insns)),
        Linkage.STATIC if static else Linkage.GLOBAL,
        relocations,
        type=func_type(name, static=static),
    )


def returns(value: int, prog_type: ProgType = ProgType.SOCKET_FILTER, name: str = "prog") -> ProgramSpec:
    """A program that returns ``value``."""
    return program([mov(0, value), exit_], prog_type, name=name)


def an_object(
    *programs: ProgramSpec,
    maps: Iterable[MapSpec] = (),
    functions: Iterable[FunctionSpec] = (),
    license_: str = "GPL",
) -> ObjectSpec:
    """An object with these parts."""
    return ObjectSpec(
        {p.name: p for p in programs},
        {f.name: f for f in functions},
        {m.name: m for m in maps},
        license=license_,
    )


def load_one(spec: ProgramSpec) -> LoadedObject:
    """Load an object that is only ``spec``."""
    return load(an_object(spec))


def counts_in(map_name: str, name: str = "prog", prog_type: ProgType = ProgType.SOCKET_FILTER) -> ProgramSpec:
    """A program that adds 1 to element 0 of an array (or per-CPU array) of u64, and returns 1."""
    insns = [
        store(-4, 0),
        copy(2, 10),
        add(2, -4),
        address(1),
        call(MAP_LOOKUP),
        if_null(0, 2),
        mov(1, 1),
        atomic_add(0, 1),
        mov(0, 1),
        exit_,
    ]
    return program(insns, prog_type, name=name, relocations=(Relocation(3, RelocKind.MAP, map_name),))


def emits_to(ring: str, value: int) -> ProgramSpec:
    """A program that outputs the 8 bytes of ``value`` to a ring buffer, and returns what the helper said."""
    insns = [
        store(-8, value, 8),
        copy(2, 10),
        add(2, -8),
        mov(3, 8),
        mov(4, 0),
        address(1),
        call(RINGBUF_OUTPUT),
        exit_,
    ]
    return program(insns, relocations=(Relocation(5, RelocKind.MAP, ring),))


def array_of_u64(name: str = "counts", entries: int = 4, map_type: MapType = MapType.ARRAY) -> MapSpec:
    """An array of u64 with BTF."""
    return MapSpec(name, map_type, 4, 8, entries, key_type=btf.U32, value_type=btf.U64)
