"""Filling in what only the running kernel knows: descriptors of maps, offsets in them, ids of kernel functions."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterable
from typing import Final, assert_never

from pyebpf.backend.insn_references import (
    CALL_HELPER,
    CALL_KFUNC,
    PSEUDO_BTF_ID,
    PSEUDO_MAP_FD,
    PSEUDO_MAP_VALUE,
    PSEUDO_NONE,
    SLOT_BYTES,
)
from pyebpf.object import Reference, Relocation, RelocKind
from pyebpf.records import dataclass

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


def set_imm(code: bytearray, slot: int, value: int) -> None:
    """Store the 32-bit immediate of a slot."""
    struct.pack_into("=I", code, slot * SLOT_BYTES + _IMM, value & 0xFFFF_FFFF)


def set_src(code: bytearray, slot: int, value: int) -> None:
    """Store the src register, which tells what the immediate means."""
    at = slot * SLOT_BYTES + 1
    code[at] = (code[at] & 0x0F | value << 4) if _LITTLE else (code[at] & 0xF0 | value)


def resolve(
    code: bytearray,
    references: Iterable[Reference],
    address: Callable[[Relocation], MapAddress],
    kernel_function: Callable[[str], int | None],
) -> None:
    """Fill in the references. ``address``: of a MAP or DATA relocation. ``kernel_function``: the BTF id by symbol,
    ``None`` for a weak one that this kernel does not have."""
    for index, reference in enumerate(references):
        slot, relocation = reference.slot, reference.relocation
        match relocation.kind:
            case RelocKind.MAP | RelocKind.DATA:
                target = address(relocation)
                whole = target.offset is None
                set_src(code, slot, PSEUDO_MAP_FD if whole else PSEUDO_MAP_VALUE)
                set_imm(code, slot, target.fd)
                set_imm(code, slot + 1, target.offset or 0)
            case RelocKind.KFUNC:
                number = kernel_function(relocation.symbol)
                # A call that the verifier refuses unless it is dead: guarded by a test of the function.
                set_src(code, slot, CALL_HELPER if number is None else CALL_KFUNC)
                set_imm(code, slot, ABSENT_KFUNC_CALL + index if number is None else number)
            case RelocKind.EXTERN:
                number = kernel_function(relocation.symbol)
                set_src(code, slot, PSEUDO_NONE if number is None else PSEUDO_BTF_ID)
                set_imm(code, slot, number or 0)
                set_imm(code, slot + 1, 0)
            case RelocKind.CALL | RelocKind.FUNC:
                raise AssertionError(f"{relocation.kind} is resolved when linking")
            case _:
                assert_never(relocation.kind)
