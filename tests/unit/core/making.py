"""Types and instructions for the tests of CO-RE."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyebpf import btf
from pyebpf.backend.insn import LD_IMM64, Alu, Insn, Source, alu, decode, encode, ldx, st, stx
from pyebpf.btf.access import CoreKind
from pyebpf.object import CoreRelocation
from pyebpf.runtime.core import Poison, Relocator

U8, U16, U32, U64, INT = btf.U8, btf.U16, btf.U32, btf.U64, btf.INT
POISON = 195_896_080


def spec(*types: btf.Type) -> btf.Spec:
    """The types as a kernel has them."""
    return btf.Spec(btf.encode(list(types)).data)


def module(base: btf.Spec, *types: btf.Type) -> btf.Spec:
    """The types of a module of a kernel."""
    data = bytearray(btf.encode(list(types)).data)
    # Its own ids and strings go on where those of the kernel end: the types here refer to nothing but by what follows.
    own = btf.Spec(bytes(data))
    words = own._words
    for number in range(1, len(own)):
        place = own._at[number - 1]
        if words[place]:
            words[place] += base.string_size
        for part in range(words[place + 1] & 0xFFFF):
            words[place + 3 + 3 * part] += base.string_size
            words[place + 3 + 3 * part + 1] += len(base) - 1
    start = own._start
    data[start : start + len(words) * 4] = words.tobytes()
    return btf.Spec(bytes(data), base)


def struct(
    name: str, *members: tuple[str, btf.Type, int] | tuple[str, btf.Type, int, int], size: int = 64
) -> btf.Struct:
    """A struct; members are name, type, offset in bits, and the bits of a bit-field."""
    return btf.Struct(name, size, tuple(btf.Member(*member) for member in members))


def union(name: str, *members: tuple[str, btf.Type, int], size: int = 64) -> btf.Union:
    """A union."""
    return btf.Union(name, size, tuple(btf.Member(*member) for member in members))


def relocate(
    code: bytearray,
    relocations: Iterable[tuple[int, CoreRelocation]],
    kernel: btf.Spec,
    modules: Sequence[btf.Spec] = (),
    *,
    name: str = "this kernel",
) -> list[Poison]:
    """Apply records against the types of a kernel and of its modules."""
    return Relocator(kernel, name, lambda: modules).apply(code, relocations)


def mov(value: int) -> Insn:
    """``r1 = value``."""
    return Insn(alu(Alu.MOV, Source.K), 1, imm=value)


def wide(value: int) -> Insn:
    """``r1 = value ll``."""
    return Insn(LD_IMM64, 1, imm=value)


def load(offset: int, width: int = 4) -> Insn:
    """``r1 = *(r2 + offset)``."""
    return Insn(ldx(width), 1, 2, offset)


def store(offset: int, width: int = 4) -> Insn:
    """``*(r2 + offset) = 1``."""
    return Insn(st(width), 2, offset=offset, imm=1)


def store_reg(offset: int, width: int = 4) -> Insn:
    """``*(r2 + offset) = r1``."""
    return Insn(stx(width), 2, 1, offset)


def apply(
    insn: Insn,
    kind: CoreKind,
    root: btf.Type,
    access: str,
    kernel: btf.Spec,
    *modules: btf.Spec,
) -> tuple[Insn, list[Poison]]:
    """One instruction after relocation, and what was missing."""
    code = bytearray(encode([insn]))
    lacking = relocate(code, [(0, CoreRelocation(0, kind, root, access))], kernel, modules, name="Linux X")
    return decode(bytes(code))[0], lacking


def number(
    kind: CoreKind, root: btf.Type, access: str, kernel: btf.Spec, before: int = 1, *modules: btf.Spec
) -> int | str:
    """What a relocation finds; what is missing, if the instruction was poisoned."""
    insn, lacking = apply(mov(before), kind, root, access, kernel, *modules)
    if lacking:
        assert insn == Insn(0x85, imm=POISON)
        return lacking[0].text
    return insn.imm
