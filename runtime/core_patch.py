"""Putting the value of a CO-RE relocation into its instruction, which must be of a form that can take it."""

from __future__ import annotations

import struct
import sys

from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import SLOT_BYTES
from pyebpf.runtime.errors import CoreError

if TYPE_CHECKING:
    from typing import Final


POISON: Final = 195_896_080
"""The number of the helper that an instruction calls which asks for what the kernel lacks; libbpf's, known from its logs.
The verifier refuses it unless it is dead."""

_CLASS: Final = 0x07
_MEMORY: Final = (1, 2, 3)
"""The classes LDX, ST, STX; 4 and 7 are ALU and ALU64, 0 is LD."""
_FROM_REGISTER: Final = 0x08
_SIZE: Final = 0x18
_SIZES: Final = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
_LD_IMM64: Final = 0x18
_CALL: Final = 0x85
_MOST_OFFSET: Final = 0x7FFF
_INSN: Final = struct.Struct("=BBhi")
_LITTLE: Final = sys.byteorder == "little"


def poison(code: bytearray, slot: int) -> None:
    """Make the instruction one that the verifier refuses."""
    slots = (slot, slot + 1) if code[slot * SLOT_BYTES] == _LD_IMM64 else (slot,)
    for one in slots:
        _INSN.pack_into(code, one * SLOT_BYTES, _CALL, 0, 0, POISON)


def check(code: bytearray, slot: int) -> None:
    """Raise ``CoreError`` if the instruction can take no value."""
    at = slot * SLOT_BYTES
    if slot < 0 or at + SLOT_BYTES > len(code):
        raise CoreError(f"instruction {slot} is none of the program's")
    opcode, registers, offset, _ = _INSN.unpack_from(code, at)
    source = registers >> 4 if _LITTLE else registers & 0x0F
    match opcode & _CLASS:
        case 4 | 7 if not opcode & _FROM_REGISTER:
            return
        case 1 | 2 | 3:
            return
        case 0 if opcode == _LD_IMM64 and not source and not offset:
            if at + 2 * SLOT_BYTES <= len(code) and not any(code[at + SLOT_BYTES : at + SLOT_BYTES + 4]):
                return
    raise CoreError(f"instruction {slot} (opcode {opcode:#04x}) cannot take a value")


def is_access(code: bytearray, slot: int) -> bool:
    """Whether the instruction loads or stores, so that the value is its offset."""
    return code[slot * SLOT_BYTES] & _CLASS in _MEMORY


def current(code: bytearray, slot: int) -> int:
    """The value in an instruction that passed ``check``."""
    at = slot * SLOT_BYTES
    opcode, _, offset, imm = _INSN.unpack_from(code, at)
    if is_access(code, slot):
        return int(offset)
    if opcode == _LD_IMM64:
        high: int = _INSN.unpack_from(code, at + SLOT_BYTES)[3]
        return high << 32 | int(imm) & 0xFFFF_FFFF
    return int(imm)


def put(code: bytearray, slot: int, value: int) -> None:
    """Replace the value. Raises ``CoreError`` if it is too large."""
    at = slot * SLOT_BYTES
    if is_access(code, slot):
        if not 0 <= value <= _MOST_OFFSET:
            raise CoreError(f"offset {value} is too large for the load or store at instruction {slot}")
        struct.pack_into("=h", code, at + 2, value)
    elif code[at] == _LD_IMM64:
        struct.pack_into("=I", code, at + 4, value & 0xFFFF_FFFF)
        struct.pack_into("=I", code, at + SLOT_BYTES + 4, value >> 32 & 0xFFFF_FFFF)
    else:
        if not -(1 << 31) <= value < 1 << 32:
            raise CoreError(f"value {value} is too large for instruction {slot}")
        struct.pack_into("=I", code, at + 4, value & 0xFFFF_FFFF)


def resize(code: bytearray, slot: int, old: int, new: int) -> None:
    """Make a load or store of ``old`` bytes one of ``new``. Raises ``CoreError`` if it is not of ``old``, or cannot."""
    at = slot * SLOT_BYTES
    if code[at] & _SIZE != _SIZES.get(old, -1):
        raise CoreError(f"instruction {slot} does not access the {old} bytes of its field")
    if new not in _SIZES:
        raise CoreError(f"instruction {slot} cannot access the {new} bytes that the field has on this kernel")
    code[at] = code[at] & ~_SIZE & 0xFF | _SIZES[new]
