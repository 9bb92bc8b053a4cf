"""Python expressions for the arithmetic, byte-order and comparison instructions of RFC 9669, section 4.

Registers hold unsigned numbers below 2**64 between instructions. A mask is written only where the facts do not show that
the result fits; signs are taken off by flipping the highest bit and subtracting it.
"""

from __future__ import annotations

from pyebpf.backend.insn import Alu, Class, Insn, Jmp, Source
from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.vm.translate_facts import M32, M64, State, unsigned

if TYPE_CHECKING:
    from typing import Final


_SIGN: Final = {32: 1 << 31, 64: 1 << 63}
_MASK: Final = {32: M32, 64: M64}


def narrow(state: State, register: int) -> str:
    """The low 32 bits of a register."""
    return f"r{register}" if state.bits(register) <= 32 else f"(r{register} & {M32})"


def signed(text: str, bits: int, width: int) -> str:
    """The signed number that an unsigned one below 2**``bits`` stands for at a width of 32 or 64."""
    return text if bits < width else f"(({text} ^ {_SIGN[width]}) - {_SIGN[width]})"


def alu(state: State, insn: Insn) -> str:
    """What ``dst`` becomes."""
    width = 64 if insn.cls is Class.ALU64 else 32
    operation = Alu(insn.opcode & 0xF0)
    if operation is Alu.END:
        return _end(state, insn)
    dst = f"r{insn.dst}"
    if insn.opcode & Source.X:
        bits = state.bits(insn.src)
        source = f"r{insn.src}"
        if operation is Alu.MOV:
            return _move(state, insn, width)
        if operation in (Alu.LSH, Alu.RSH, Alu.ARSH):
            return _shift(state, insn, width, f"({source} & {width - 1})", width - 1)
        if width == 32 and operation in (Alu.DIV, Alu.MOD):
            source, bits = narrow(state, insn.src), min(bits, 32)
    else:
        constant = unsigned(insn) if width == 64 else insn.imm & M32
        source, bits = str(constant), constant.bit_length()
        if operation is Alu.MOV:
            return source
        if operation is Alu.ADD and insn.imm < 0:
            return f"{dst} - {-insn.imm} & {_MASK[width]}"
        if operation in (Alu.LSH, Alu.RSH, Alu.ARSH):
            count = insn.imm & width - 1
            return _shift(state, insn, width, str(count), count)
    mask = _MASK[width]
    own = state.bits(insn.dst)
    match operation:
        case Alu.ADD:
            return f"{dst} + {source}" + (f" & {mask}" if max(own, bits) + 1 > width else "")
        case Alu.SUB:
            return f"{dst} - {source} & {mask}"
        case Alu.MUL:
            return f"{dst} * {source}" + (f" & {mask}" if own + bits > width else "")
        case Alu.NEG:
            return f"-{dst} & {mask}"
        case Alu.AND:
            return f"{dst} & {source}" + (f" & {mask}" if min(own, bits) > width else "")
        case Alu.OR | Alu.XOR:
            text = f"{dst} {'|' if operation is Alu.OR else '^'} {source}"
            return f"({text}) & {mask}" if max(own, bits) > width else text
        case Alu.DIV | Alu.MOD:
            first = dst if width == 64 else narrow(state, insn.dst)
            if insn.offset:
                name = "divide" if operation is Alu.DIV else "modulo"
                a, b = (
                    signed(first, min(own, width), width),
                    signed(source, bits, width),
                )
                return f"{name}({a}, {b}) & {mask}"
            sign, otherwise = ("//", "0") if operation is Alu.DIV else ("%", first)
            if not insn.opcode & Source.X:
                return f"{first} {sign} {source}" if insn.imm else otherwise
            return f"{first} {sign} {source} if {source} else {otherwise}"
        case Alu.LSH | Alu.RSH | Alu.ARSH | Alu.MOV:
            raise AssertionError("translated above")


def _move(state: State, insn: Insn, width: int) -> str:
    source, size = f"r{insn.src}", insn.offset
    if size in (0, 1):
        return source if width == 64 else narrow(state, insn.src)
    low = source if state.bits(insn.src) <= size else f"({source} & {(1 << size) - 1})"
    if state.bits(insn.src) < size:
        return low
    sign = 1 << size - 1
    return f"({low} ^ {sign}) - {sign} & {_MASK[width]}"


def _shift(state: State, insn: Insn, width: int, count: str, most: int) -> str:
    bits = state.bits(insn.dst)
    register = f"r{insn.dst}" if width == 64 else narrow(state, insn.dst)
    bits = min(bits, width)
    match Alu(insn.opcode & 0xF0):
        case Alu.LSH:
            return f"{register} << {count}" + (f" & {_MASK[width]}" if bits + most > width else "")
        case Alu.ARSH if bits == width:
            return f"{signed(register, bits, width)} >> {count} & {_MASK[width]}"
        case _:
            return f"{register} >> {count}"


def _end(state: State, insn: Insn) -> str:
    register, size = f"r{insn.dst}", insn.imm
    low = register if state.bits(insn.dst) <= size else f"({register} & {(1 << size) - 1})"
    if insn.cls is not Class.ALU64 and not insn.opcode & Source.X:
        return low  # to little-endian, which the machine is
    if size == 16:
        return f"{low} >> 8 | ({low} & 255) << 8"
    return f"swap{size}({low})"


_COMPARISONS: Final = {
    Jmp.JEQ: "==",
    Jmp.JNE: "!=",
    Jmp.JGT: ">",
    Jmp.JGE: ">=",
    Jmp.JLT: "<",
    Jmp.JLE: "<=",
}
_SIGNED: Final = {Jmp.JSGT: ">", Jmp.JSGE: ">=", Jmp.JSLT: "<", Jmp.JSLE: "<="}
_OPPOSITE: Final = {"==": "!=", "!=": "==", ">": "<=", "<=": ">", "<": ">=", ">=": "<"}


def condition(state: State, insn: Insn, holds: bool = True) -> str:
    """Whether a conditional jump jumps; with ``holds`` false, whether it does not."""
    width = 64 if insn.cls is Class.JMP else 32
    operation = Jmp(insn.opcode & 0xF0)
    a = f"r{insn.dst}" if width == 64 else narrow(state, insn.dst)
    a_bits = min(state.bits(insn.dst), width)
    if insn.opcode & Source.X:
        b = f"r{insn.src}" if width == 64 else narrow(state, insn.src)
        b_bits = min(state.bits(insn.src), width)
    else:
        constant = insn.imm & _MASK[width]
        b, b_bits = str(constant), constant.bit_length()
    if operation is Jmp.JSET:
        return f"{a} & {b}" if holds else f"not {a} & {b}"
    if operation in _SIGNED:
        sign = _SIGNED[operation]
        if max(a_bits, b_bits) == width:
            # Flipping the sign bits of both keeps the order and makes it that of unsigned numbers.
            flip = _SIGN[width]
            a = f"({a} ^ {flip})"
            b = f"({b} ^ {flip})" if insn.opcode & Source.X else str((insn.imm & _MASK[width]) ^ flip)
    else:
        sign = _COMPARISONS[operation]
    return f"{a} {sign if holds else _OPPOSITE[sign]} {b}"


def divide(a: int, b: int) -> int:
    """Signed division towards zero; by zero it is 0."""
    if not b:
        return 0
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def modulo(a: int, b: int) -> int:
    """The remainder of ``divide``, with the sign of ``a``; by zero it is ``a``."""
    if not b:
        return a
    remainder = abs(a) % abs(b)
    return -remainder if a < 0 else remainder


def swap32(value: int) -> int:
    """The four bytes in the other order."""
    return int.from_bytes(value.to_bytes(4, "little"), "big")


def swap64(value: int) -> int:
    """The eight bytes in the other order."""
    return int.from_bytes(value.to_bytes(8, "little"), "big")
