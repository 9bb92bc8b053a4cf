"""Filling in what only the running kernel knows: descriptors of maps, offsets in them, ids and addresses of what is
the kernel's."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable

from pyebpf.hints import TYPE_CHECKING, Protocol, assert_never
from pyebpf.object import SLOT_BYTES, CallKind, Pseudo, Reference, Relocation, RelocKind
from pyebpf.records import dataclass

if TYPE_CHECKING:
    from typing import Final


_IMM: Final = 4
_LITTLE: Final = sys.byteorder == "little"
ABSENT_KFUNC_CALL: Final = 2_002_000_000
"""The number of the helper that a call of an absent weak kernel function becomes; libbpf's, known from its
logs."""


@dataclass(frozen=True, slots=True)
class MapAddress:
    """What goes into ``ld_imm64`` for a map: ``fd`` alone, or the address of its value at ``offset``."""

    fd: int
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class KernelSymbol:
    """A variable or function of the kernel: its BTF id, and the descriptor of its module's BTF (0: the kernel's own)."""

    id: int
    module: int = 0


@dataclass(frozen=True, slots=True)
class KernelFunction:
    """A function to call: its BTF id, and where its module's BTF stands in the program's table (0: the kernel's own)."""

    id: int
    index: int = 0


def set_imm(code: bytearray, slot: int, value: int) -> None:
    """Store the 32-bit immediate of a slot."""
    struct.pack_into("=I", code, slot * SLOT_BYTES + _IMM, value & 0xFFFF_FFFF)


def set_src(code: bytearray, slot: int, value: int) -> None:
    """Store the src register, which tells what the immediate means."""
    at = slot * SLOT_BYTES + 1
    code[at] = (code[at] & 0x0F | value << 4) if _LITTLE else (code[at] & 0xF0 | value)


def set_off(code: bytearray, slot: int, value: int) -> None:
    """Store the 16-bit offset of a slot."""
    struct.pack_into("=h", code, slot * SLOT_BYTES + 2, value)


class Resolver(Protocol):
    """Who knows what the references of an object stand for."""

    def place(self, relocation: Relocation) -> MapAddress:
        """What a MAP or DATA relocation refers to."""

    def function(self, symbol: str) -> KernelFunction | None:
        """The kernel function called ``symbol``; ``None`` for a weak one that this kernel does not have."""

    def address(self, symbol: str) -> MapAddress | KernelSymbol | int:
        """Where an extern lies: in a map, a kernel variable or function by its id, or a plain address (0: nowhere)."""


def resolve(code: bytearray, references: Iterable[Reference], resolver: Resolver) -> list[Reference]:
    """Fill in the references; return those of weak kernel functions that are called and are not there."""
    absent = []
    for index, reference in enumerate(references):
        slot, relocation = reference.slot, reference.relocation
        match relocation.kind:
            case RelocKind.MAP | RelocKind.DATA:
                _put_address(code, slot, resolver.place(relocation))
            case RelocKind.KFUNC:
                function = resolver.function(relocation.symbol)
                if function is None:
                    # A call that the verifier refuses unless it is dead: guarded by a test of the function.
                    set_src(code, slot, CallKind.HELPER)
                    set_imm(code, slot, ABSENT_KFUNC_CALL + index)
                    absent.append(reference)
                else:
                    set_src(code, slot, CallKind.KFUNC)
                    set_off(code, slot, function.index)
                    set_imm(code, slot, function.id)
            case RelocKind.EXTERN:
                _put_address(code, slot, resolver.address(relocation.symbol))
            case RelocKind.CALL | RelocKind.FUNC:
                raise AssertionError(f"{relocation.kind} is resolved when linking")
            case _:
                assert_never(relocation.kind)
    return absent


def _put_address(code: bytearray, slot: int, target: MapAddress | KernelSymbol | int) -> None:
    match target:
        case MapAddress(fd=fd, offset=offset):
            source, low, high = Pseudo.MAP_FD if offset is None else Pseudo.MAP_VALUE, fd, offset or 0
        case KernelSymbol(id=number, module=module):
            source, low, high = Pseudo.BTF_ID, number, module
        case int():
            source, low, high = Pseudo.NONE, target, target >> 32
    set_src(code, slot, source)
    set_imm(code, slot, low)
    set_imm(code, slot + 1, high)
