"""BPF instructions as data: the numbers of the instruction set, one instruction, and its bytes.

Everything here is the encoding of RFC 9669 and linux/bpf.h up to ISA v4; text is in ``disassemble``. Code is
counted in *slots* of 8 bytes: ``ld_imm64`` is one ``Insn`` and takes two.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from pyebpf import enums
from pyebpf.diagnostics import PyebpfError
from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import SLOT_BYTES as SLOT_BYTES
from pyebpf.object import CallKind as CallKind
from pyebpf.object import Pseudo as Pseudo
from pyebpf.records import dataclass

if TYPE_CHECKING:
    from typing import Final


class Class(enums.IntEnum):
    """The low three bits of an opcode."""

    LD = 0x00
    LDX = 0x01
    ST = 0x02
    STX = 0x03
    ALU = 0x04  # 32 bits: the upper half of dst becomes zero
    JMP = 0x05
    JMP32 = 0x06
    ALU64 = 0x07


class Source(enums.IntEnum):
    """Where ALU and jump instructions take their second operand from."""

    K = 0x00  # imm
    X = 0x08  # the src register


class Alu(enums.IntEnum):
    """Operations of ALU and ALU64. An offset makes DIV and MOD signed and MOV sign-extending (v4)."""

    ADD = 0x00
    SUB = 0x10
    MUL = 0x20
    DIV = 0x30
    OR = 0x40
    AND = 0x50
    LSH = 0x60
    RSH = 0x70
    NEG = 0x80
    MOD = 0x90
    XOR = 0xA0
    MOV = 0xB0
    ARSH = 0xC0
    END = 0xD0


class Jmp(enums.IntEnum):
    """Operations of JMP and JMP32."""

    JA = 0x00
    JEQ = 0x10
    JGT = 0x20
    JGE = 0x30
    JSET = 0x40
    JNE = 0x50
    JSGT = 0x60
    JSGE = 0x70
    CALL = 0x80
    EXIT = 0x90
    JLT = 0xA0  # v2
    JLE = 0xB0  # v2
    JSLT = 0xC0  # v2
    JSLE = 0xD0  # v2
    JCOND = 0xE0  # may_goto, 6.9


class Size(enums.IntEnum):
    """The width of a memory access."""

    W = 0x00
    H = 0x08
    B = 0x10
    DW = 0x18

    @property
    def bytes(self) -> int:
        """1, 2, 4 or 8."""
        return _SIZE_BYTES[self]

    @staticmethod
    def of(width: int) -> Size:
        """The size that accesses ``width`` bytes (1, 2, 4, 8)."""
        return _SIZES[width]


_SIZES: Final = {1: Size.B, 2: Size.H, 4: Size.W, 8: Size.DW}
_SIZE_BYTES: Final = {size: width for width, size in _SIZES.items()}


class Mode(enums.IntEnum):
    """How a memory instruction addresses."""

    IMM = 0x00  # ld_imm64
    ABS = 0x20  # the packet, at a constant
    IND = 0x40  # the packet, at src + a constant
    MEM = 0x60
    MEMSX = 0x80  # sign-extending load, v4
    ATOMIC = 0xC0


class AtomicImm(enums.IntEnum):
    """The operation of an atomic instruction, in ``imm``. The ``FETCH`` forms return the old value in src."""

    ADD = 0x00
    OR = 0x40
    AND = 0x50
    XOR = 0xA0
    FETCH_ADD = 0x01
    FETCH_OR = 0x41
    FETCH_AND = 0x51
    FETCH_XOR = 0xA1
    XCHG = 0xE1
    CMPXCHG = 0xF1  # compares with r0 and returns the old value there
    LOAD_ACQUIRE = 0x100  # 6.15; encoded like a load: dst = *src
    STORE_RELEASE = 0x110  # 6.15


LD_IMM64: Final = Class.LD | Mode.IMM | Size.DW
GOTO: Final = Class.JMP | Jmp.JA
GOTOL: Final = Class.JMP32 | Jmp.JA
CALL: Final = Class.JMP | Jmp.CALL
EXIT: Final = Class.JMP | Jmp.EXIT
MAY_GOTO: Final = Class.JMP | Jmp.JCOND
END_TO_LE: Final = Class.ALU | Alu.END | Source.K
END_TO_BE: Final = Class.ALU | Alu.END | Source.X
BSWAP: Final = Class.ALU64 | Alu.END  # v4


def alu(op: Alu, source: Source, *, wide: bool = True) -> int:
    """The opcode of an ALU64 instruction, or ALU (32 bits) if not ``wide``."""
    return (Class.ALU64 if wide else Class.ALU) | op | source


def jump(op: Jmp, source: Source, *, wide: bool = True) -> int:
    """The opcode of a conditional jump: JMP, or JMP32 if not ``wide``."""
    return (Class.JMP if wide else Class.JMP32) | op | source


def ldx(width: int, *, signed: bool = False) -> int:
    """The opcode of a load of ``width`` bytes (1, 2, 4, 8) through a register."""
    return Class.LDX | (Mode.MEMSX if signed else Mode.MEM) | Size.of(width)


def stx(width: int) -> int:
    """The opcode of a store of a register."""
    return Class.STX | Mode.MEM | Size.of(width)


def st(width: int) -> int:
    """The opcode of a store of a constant."""
    return Class.ST | Mode.MEM | Size.of(width)


def atomic(width: int) -> int:
    """The opcode of an atomic operation on 4 or 8 bytes."""
    return Class.STX | Mode.ATOMIC | Size.of(width)


class InsnError(PyebpfError):
    """Bytes that are no instruction, or an instruction that has no bytes.

    ``slot``: where, counted from the start of the code.
    """

    def __init__(self, message: str, slot: int) -> None:
        self.slot = slot
        super().__init__(f"instruction slot {slot}: {message}")


@dataclass(frozen=True, slots=True)
class Insn:
    """One instruction.

    ``imm`` is a signed 32-bit number, but for ``ld_imm64`` an unsigned 64-bit one. ``offset`` is signed, 16
    bits; jumps count slots from the next instruction.
    """

    opcode: int
    dst: int = 0
    src: int = 0
    offset: int = 0
    imm: int = 0

    @property
    def slots(self) -> int:
        """How many 8-byte slots it takes: 2 for ``ld_imm64``."""
        return 2 if self.opcode == LD_IMM64 else 1

    @property
    def cls(self) -> Class:
        """The instruction class."""
        return Class(self.opcode & 0x07)

    @property
    def is_jump(self) -> bool:
        """Whether control may go on at ``jump_distance``: a goto or conditional jump, no call or exit."""
        return self.cls in (Class.JMP, Class.JMP32) and self.opcode & 0xF0 not in (Jmp.CALL, Jmp.EXIT)

    @property
    def jump_distance(self) -> int:
        """Slots from the next instruction to a jump's target."""
        return self.imm if self.opcode == GOTOL else self.offset


class _Fields(enums.Flag):
    DST = enums.auto()
    SRC = enums.auto()
    OFFSET = enums.auto()
    IMM = enums.auto()


def _fields() -> dict[int, _Fields]:
    """Which fields each opcode uses; the others must be zero. An opcode that is not a key does not exist."""
    dst, src, offset, imm = _Fields.DST, _Fields.SRC, _Fields.OFFSET, _Fields.IMM
    table: dict[int, _Fields] = {LD_IMM64: dst | src | imm}
    for wide in (False, True):
        for op in Alu:
            if op in (Alu.NEG, Alu.END):
                continue
            # The offset of div, mod and mov selects their signed forms.
            extra = offset if op in (Alu.DIV, Alu.MOD) else _Fields(0)
            table[alu(op, Source.K, wide=wide)] = dst | imm | extra
            extra = offset if op in (Alu.DIV, Alu.MOD, Alu.MOV) else _Fields(0)
            table[alu(op, Source.X, wide=wide)] = dst | src | extra
        table[alu(Alu.NEG, Source.K, wide=wide)] = dst
        for jmp in Jmp:
            if jmp not in (Jmp.JA, Jmp.CALL, Jmp.EXIT, Jmp.JCOND):
                table[jump(jmp, Source.K, wide=wide)] = dst | imm | offset
                table[jump(jmp, Source.X, wide=wide)] = dst | src | offset
    table[alu(Alu.MOV, Source.X)] |= imm  # addr_space_cast (6.9): offset 1, imm the two address spaces
    table |= {END_TO_LE: dst | imm, END_TO_BE: dst | imm, BSWAP: dst | imm}
    table |= {GOTO: offset, GOTOL: imm, CALL: src | offset | imm, EXIT: _Fields(0), MAY_GOTO: offset}
    for width in _SIZES:
        table |= {
            ldx(width): dst | src | offset,
            stx(width): dst | src | offset,
            st(width): dst | offset | imm,
        }
        if width < 8:
            table[ldx(width, signed=True)] = dst | src | offset
            table[Class.LD | Mode.ABS | Size.of(width)] = imm
            table[Class.LD | Mode.IND | Size.of(width)] = src | imm
        # Only load-acquire and store-release exist for one and two bytes.
        table[atomic(width)] = dst | src | offset | imm
    return table


_FIELDS: Final = _fields()
_ATOMIC_IMMS: Final = frozenset(AtomicImm)
_ORDERED_IMMS: Final = frozenset({AtomicImm.LOAD_ACQUIRE, AtomicImm.STORE_RELEASE})
_MOV_OFFSETS: Final = {
    alu(Alu.MOV, Source.X): frozenset({0, 1, 8, 16, 32}),
    alu(Alu.MOV, Source.X, wide=False): frozenset({0, 8, 16}),
}
_ADDR_SPACE_CAST: Final = 1


def _refusal(insn: Insn) -> str | None:
    """Why ``insn`` is not an instruction of the set, or ``None``."""
    used = _FIELDS.get(insn.opcode)
    if used is None:
        return f"unknown opcode {insn.opcode:#04x}"
    values = {
        _Fields.DST: insn.dst,
        _Fields.SRC: insn.src,
        _Fields.OFFSET: insn.offset,
        _Fields.IMM: insn.imm,
    }
    reserved = [name.name for name, value in values.items() if value and name not in used]
    if reserved:
        return f"opcode {insn.opcode:#04x} does not use its field {reserved[0]}, which must be zero"
    if not 0 <= insn.dst <= 10:
        return f"no register r{insn.dst}"
    if not 0 <= insn.src <= 10:
        return f"no register r{insn.src}"
    if not -(1 << 15) <= insn.offset < 1 << 15:
        return f"offset {insn.offset} does not fit 16 bits"
    low, high = (0, 1 << 64) if insn.opcode == LD_IMM64 else (-(1 << 31), 1 << 31)
    if not low <= insn.imm < high:
        return f"immediate {insn.imm} does not fit {64 if insn.opcode == LD_IMM64 else 32} bits"
    return _variant_refusal(insn)


def _variant_refusal(insn: Insn) -> str | None:
    """As ``_refusal``, for the opcodes whose offset, imm or src selects one of a few forms."""
    operation = insn.opcode & 0xF0
    match insn.cls:
        case Class.ALU | Class.ALU64 if operation in (Alu.DIV, Alu.MOD):
            bad = insn.offset not in (0, 1)
        case Class.ALU | Class.ALU64 if operation == Alu.MOV and insn.opcode & Source.X:
            cast = insn.offset == _ADDR_SPACE_CAST
            bad = insn.offset not in _MOV_OFFSETS[insn.opcode] or (insn.imm != 0 and not cast)
        case Class.ALU | Class.ALU64 if operation == Alu.END:
            bad = insn.imm not in (16, 32, 64)
        case Class.STX if insn.opcode & 0xE0 == Mode.ATOMIC:
            wide = insn.opcode & 0x18 in (Size.W, Size.DW)
            bad = insn.imm not in (_ATOMIC_IMMS if wide else _ORDERED_IMMS)
        case Class.JMP if insn.opcode == CALL:
            bad = insn.src > CallKind.KFUNC or (insn.offset != 0 and insn.src != CallKind.KFUNC)
        case Class.LD if insn.opcode == LD_IMM64:
            bad = insn.src > Pseudo.MAP_IDX_VALUE
        case _:
            bad = False
    return (
        f"no form of opcode {insn.opcode:#04x} has src {insn.src}, offset {insn.offset}, imm {insn.imm}"
        if bad
        else None
    )


def check(insn: Insn, slot: int = 0) -> Insn:
    """``insn`` itself if it is an instruction of the set up to v4; else raise ``InsnError`` for ``slot``."""
    refusal = _refusal(insn)
    if refusal is not None:
        raise InsnError(refusal, slot)
    return insn


def encode(insns: Iterable[Insn], little_endian: bool = True) -> bytes:
    """The bytes of ``insns`` in the given byte order.

    Raises ``InsnError`` for what has no encoding (unknown opcode, value out of range, reserved field set).
    """
    order = "<" if little_endian else ">"
    pack = struct.Struct(f"{order}BBhI").pack
    out = bytearray()
    for insn in insns:
        check(insn, len(out) // SLOT_BYTES)
        # The two register fields are bit-fields of C, so they change places with the byte order.
        regs = insn.src << 4 | insn.dst if little_endian else insn.dst << 4 | insn.src
        out += pack(insn.opcode, regs, insn.offset, insn.imm & 0xFFFF_FFFF)
        if insn.opcode == LD_IMM64:
            out += pack(0, 0, 0, insn.imm >> 32)
    return bytes(out)


def decode(code: bytes, little_endian: bool = True) -> list[Insn]:
    """The instructions in ``code``; the inverse of ``encode``.

    Raises ``InsnError`` where the bytes are not instructions of the set up to v4.
    """
    if len(code) % SLOT_BYTES:
        raise InsnError(f"{len(code)} bytes are not a whole number of instructions", len(code) // SLOT_BYTES)
    slots = list(struct.iter_unpack(f"{'<' if little_endian else '>'}BBhi", code))
    insns: list[Insn] = []
    at = 0
    while at < len(slots):
        opcode, regs, offset, imm = slots[at]
        dst, src = (regs & 15, regs >> 4) if little_endian else (regs >> 4, regs & 15)
        start = at
        if opcode == LD_IMM64:
            at += 1
            if at == len(slots) or slots[at][:3] != (0, 0, 0):
                raise InsnError("the second half of a 64-bit constant is missing or not zero", start)
            imm = (slots[at][3] & 0xFFFF_FFFF) << 32 | imm & 0xFFFF_FFFF
        insns.append(check(Insn(opcode, dst, src, offset, imm), start))
        at += 1
    return insns
