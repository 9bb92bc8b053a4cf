"""Selection of integer operations: arithmetic, widths, byte order.

Each function appends the instructions of one operation and gives the register of its result.
"""

from __future__ import annotations

from pyebpf.backend import insn as isa
from pyebpf.backend.insn import Alu
from pyebpf.backend.machine import VReg
from pyebpf.backend.select_context import Selection, as_imm, fits_imm
from pyebpf.backend.select_facts import signed
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import ops
from pyebpf.ir.ops import BinOp, Value
from pyebpf.ir.types import I1, I32, I64
from pyebpf.target import Isa

if TYPE_CHECKING:
    from typing import Final


_ALU: Final = {
    BinOp.ADD: Alu.ADD,
    BinOp.SUB: Alu.SUB,
    BinOp.MUL: Alu.MUL,
    BinOp.UDIV: Alu.DIV,
    BinOp.UREM: Alu.MOD,
    BinOp.SDIV: Alu.DIV,
    BinOp.SREM: Alu.MOD,
    BinOp.AND: Alu.AND,
    BinOp.OR: Alu.OR,
    BinOp.XOR: Alu.XOR,
    BinOp.SHL: Alu.LSH,
    BinOp.LSHR: Alu.RSH,
    BinOp.ASHR: Alu.ARSH,
}
_COMMUTATIVE: Final = frozenset({BinOp.ADD, BinOp.MUL, BinOp.AND, BinOp.OR, BinOp.XOR})
_SIGNED: Final = frozenset({BinOp.SDIV, BinOp.SREM})
_UNSIGNED: Final = frozenset({BinOp.UDIV, BinOp.UREM})
# On a zero-extended i32 in a 64-bit instruction: the result is zero-extended again, as the verifier sees it
# too.
_KEEPS_CLEAN: Final = frozenset({BinOp.AND, BinOp.LSHR})


def binary(sel: Selection, op: ops.Binary) -> VReg:
    """Any ``Binary``."""
    left, right = op.left, op.right
    if op.op in _COMMUTATIVE and isinstance(left, ops.Const) and not isinstance(right, ops.Const):
        left, right = right, left
    if op.type == I32 and not sel.alu32:
        return _binary_i32_in_64(sel, op.op, left, right)
    if op.op in _SIGNED and sel.target.isa < Isa.V4:
        return _signed_division(sel, op.op, left, right)
    wide = op.type != I32
    if isinstance(right, ops.Const) and wide and op.op is BinOp.AND:
        return _mask(sel, left, right.value)
    if op.op in _UNSIGNED and wide and sel.facts.halves(op):
        wide = False
    offset = int(op.op in _SIGNED)
    if isinstance(right, ops.Const) and fits_imm(right.value, 64 if wide else 32):
        imm = as_imm(right.value, 64 if wide else 32)
        return sel.alu_imm(_ALU[op.op], sel.reg(left), imm, wide=wide, offset=offset)
    return sel.alu(_ALU[op.op], sel.reg(left), sel.reg(right), wide=wide, offset=offset)


def _mask(sel: Selection, left: Value, mask: int) -> VReg:
    """``left & mask`` on 64 bits; a mask of the low half is a 32-bit instruction where there is one."""
    everything = (1 << sel.facts.known[left]) - 1
    if mask & everything == everything:
        return sel.reg(left)
    if mask == 0xFFFF_FFFF:
        return sel.zero_upper(sel.reg(left))
    if fits_imm(mask):
        return sel.alu_imm(Alu.AND, sel.reg(left), as_imm(mask))
    if mask < 1 << 32 and sel.alu32:
        return sel.alu_imm(Alu.AND, sel.reg(left), as_imm(mask, 32), wide=False)
    return sel.alu(Alu.AND, sel.reg(left), sel.constant(mask))


def _binary_i32_in_64(sel: Selection, op: BinOp, left: Value, right: Value) -> VReg:
    """A 32-bit operation by 64-bit instructions, below ISA v3: operands and result are zero-extended."""
    if op in _SIGNED:
        wide_left, wide_right = sel.sign_extend(sel.reg(left), 32), sel.sign_extend(sel.reg(right), 32)
        return sel.zero_upper(_divide_registers(sel, op, wide_left, wide_right, wide=True))
    a = sel.sign_extend(sel.reg(left), 32) if op is BinOp.ASHR else sel.reg(left)
    # The upper half of a sign-extended imm only matters where it comes down into the result.
    bits = 64 if op in _UNSIGNED else 32
    if isinstance(right, ops.Const) and fits_imm(right.value, bits):
        result = sel.alu_imm(_ALU[op], a, as_imm(right.value, bits))
        stays = op in (BinOp.OR, BinOp.XOR) and right.value < 1 << 31
    else:
        result = sel.alu(_ALU[op], a, sel.reg(right))
        stays = op in (BinOp.OR, BinOp.XOR)
    return result if stays or op in _KEEPS_CLEAN else sel.zero_upper(result)


# ---------------------------------------------------------------- signed division below v4


def _sign(sel: Selection, reg: VReg, wide: bool) -> VReg:
    """All ones if the number is negative, else zero."""
    return sel.alu_imm(Alu.ARSH, reg, 63 if wide else 31, wide=wide)


def _flip(sel: Selection, reg: VReg, sign: VReg, wide: bool) -> VReg:
    """Minus the number where ``sign`` is all ones, the number where it is zero."""
    return sel.alu(Alu.SUB, sel.alu(Alu.XOR, reg, sign, wide=wide), sign, wide=wide)


def _divide_registers(sel: Selection, op: BinOp, left: VReg, right: VReg, *, wide: bool) -> VReg:
    """Truncating signed division by an unsigned division of the magnitudes, without branches."""
    if sel.target.isa >= Isa.V4:
        return sel.alu(_ALU[op], left, right, wide=wide, offset=1)
    left_sign, right_sign = _sign(sel, left, wide), _sign(sel, right, wide)
    dividend, divisor = _flip(sel, left, left_sign, wide), _flip(sel, right, right_sign, wide)
    result = sel.alu(_ALU[op], dividend, divisor, wide=wide)
    sign = left_sign if op is BinOp.SREM else sel.alu(Alu.XOR, left_sign, right_sign, wide=wide)
    return _flip(sel, result, sign, wide)


def _signed_division(sel: Selection, op: BinOp, left: Value, right: Value) -> VReg:
    """As ``_divide_registers``, with less work for a constant divisor or a dividend that is not negative."""
    bits = sel.bits(left)
    wide = bits == 64
    positive = sel.facts.bound[left] < bits
    if not isinstance(right, ops.Const):
        if positive and sel.facts.bound[right] < bits:
            return sel.alu(_ALU[op], sel.reg(left), sel.reg(right), wide=wide)
        return _divide_registers(sel, op, sel.reg(left), sel.reg(right), wide=wide)
    divisor = signed(right.value, bits)
    magnitude, negate = abs(divisor), divisor < 0 and op is BinOp.SDIV
    if positive:
        result = _divide_magnitude(sel, op, sel.reg(left), magnitude, wide)
        return sel.alu_imm(Alu.NEG, result, 0, wide=wide) if negate else result
    if magnitude & (magnitude - 1) == 0 and magnitude > 1 and not negate:
        return _divide_by_power(sel, op, sel.reg(left), magnitude.bit_length() - 1, wide)
    sign = _sign(sel, sel.reg(left), wide)
    result = _divide_magnitude(sel, op, _flip(sel, sel.reg(left), sign, wide), magnitude, wide)
    return _flip(sel, result, sel.alu_imm(Alu.XOR, sign, -1, wide=wide) if negate else sign, wide)


def _divide_magnitude(sel: Selection, op: BinOp, left: VReg, magnitude: int, wide: bool) -> VReg:
    bits = 64 if wide else 32
    if fits_imm(magnitude, bits):
        return sel.alu_imm(_ALU[op], left, as_imm(magnitude, bits), wide=wide)
    return sel.alu(_ALU[op], left, sel.constant(magnitude), wide=wide)


def _divide_by_power(sel: Selection, op: BinOp, left: VReg, shift: int, wide: bool) -> VReg:
    """By 2**shift: a negative dividend is raised by 2**shift - 1 first, so that the shift rounds towards
    zero.
    """
    bits = 64 if wide else 32
    bias = sel.alu_imm(Alu.RSH, _sign(sel, left, wide), bits - shift, wide=wide)
    raised = sel.alu(Alu.ADD, left, bias, wide=wide)
    if op is BinOp.SDIV:
        return sel.alu_imm(Alu.ARSH, raised, shift, wide=wide)
    mask = (1 << shift) - 1
    if fits_imm(mask, bits):
        rest = sel.alu_imm(Alu.AND, raised, as_imm(mask, bits), wide=wide)
    else:
        rest = sel.alu(Alu.AND, raised, sel.constant(mask), wide=wide)
    return sel.alu(Alu.SUB, rest, bias, wide=wide)


# ---------------------------------------------------------------- one operand


def negate(sel: Selection, op: ops.Neg) -> VReg:
    """``Neg``."""
    wide = not sel.narrow(op)
    result = sel.alu_imm(Alu.NEG, sel.reg(op.operand), 0, wide=wide)
    return sel.zero_upper(result) if op.type == I32 and wide else result


def byte_swap(sel: Selection, op: ops.ByteSwap) -> VReg:
    """``ByteSwap``: to the byte order that is not the target's, which swaps on every level."""
    source = sel.reg(op.operand)
    if sel.target.isa >= Isa.V4:
        return sel.unary(isa.BSWAP, source, op.bits)
    return sel.unary(isa.END_TO_BE if sel.target.little_endian else isa.END_TO_LE, source, op.bits)


def zero_extend(sel: Selection, op: ops.Zext) -> VReg:
    """``Zext``: nothing where the bits are known to be zero."""
    source = sel.reg(op.operand)
    if sel.facts.known[op.operand] <= op.bits or op.operand.type == I1:
        return source
    if op.bits == 32 and op.operand.type == I32 and sel.facts.bound[op.operand] <= 32:
        return source  # ``Widths`` knows that the verifier may not see it
    if op.bits == 32:
        return sel.zero_upper(source)
    return sel.alu_imm(Alu.AND, source, (1 << op.bits) - 1)


def sign_extend(sel: Selection, op: ops.Sext) -> VReg:
    """``Sext``: nothing where the sign is known to be zero."""
    if op.type == I32 and op.bits == 32:
        return truncate(sel, op)
    source = sel.reg(op.operand)
    if sel.facts.known[op.operand] < op.bits:
        return source
    return sel.sign_extend(source, op.bits, wide=op.type == I64)


def truncate(sel: Selection, op: ops.Trunc | ops.Sext) -> VReg:
    """``Trunc``: nothing where 32-bit instructions will ignore the upper half."""
    source = sel.reg(op.operand)
    return source if sel.alu32 or sel.facts.known[op.operand] <= 32 else sel.zero_upper(source)
