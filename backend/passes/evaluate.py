"""What operations compute: the arithmetic of the IR on Python integers, and the bits that a value may have
set.

Both constant folding and simplification ask here, so that there is one definition of each operation.
"""

from __future__ import annotations

from collections.abc import Callable

from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import ops
from pyebpf.ir.ops import BinOp, Const, Pred, Value
from pyebpf.ir.predicates import UNSIGNED
from pyebpf.ir.types import I32, IntTy

if TYPE_CHECKING:
    from typing import Final


def as_signed(value: int, bits: int) -> int:
    """``value`` (of ``bits`` bits) as a two's complement number."""
    return value - (1 << bits) if value >> (bits - 1) else value


def _truncated_division(a: int, b: int) -> tuple[int, int]:
    quotient = abs(a) // abs(b)
    quotient = -quotient if (a < 0) != (b < 0) else quotient
    return quotient, a - quotient * b


_SIGNED_DIVISIONS: Final = {BinOp.SDIV: 0, BinOp.SREM: 1}
_PLAIN: Final[dict[BinOp, Callable[[int, int], int]]] = {
    BinOp.ADD: lambda a, b: a + b,
    BinOp.SUB: lambda a, b: a - b,
    BinOp.MUL: lambda a, b: a * b,
    BinOp.UDIV: lambda a, b: a // b,
    BinOp.UREM: lambda a, b: a % b,
    BinOp.AND: lambda a, b: a & b,
    BinOp.OR: lambda a, b: a | b,
    BinOp.XOR: lambda a, b: a ^ b,
    BinOp.SHL: lambda a, b: a << b,
    BinOp.LSHR: lambda a, b: a >> b,
}
_DIVISIONS: Final = frozenset({BinOp.UDIV, BinOp.UREM, BinOp.SDIV, BinOp.SREM})
_SHIFTS: Final = frozenset({BinOp.SHL, BinOp.LSHR, BinOp.ASHR})


def binary(op: BinOp, a: int, b: int, bits: int) -> int | None:
    """The result of ``op`` in ``bits`` bits; None where the IR excludes the operands (division by zero,
    shifts)."""
    if (op in _DIVISIONS and b == 0) or (op in _SHIFTS and b >= bits):
        return None
    if op in _SIGNED_DIVISIONS:
        result = _truncated_division(as_signed(a, bits), as_signed(b, bits))[_SIGNED_DIVISIONS[op]]
    elif op is BinOp.ASHR:
        result = as_signed(a, bits) >> b
    else:
        result = _PLAIN[op](a, b)
    return result & ((1 << bits) - 1)


def compare(pred: Pred, a: int, b: int, bits: int) -> bool:
    """Whether ``pred`` holds of two ``bits``-bit values."""
    if pred in UNSIGNED:
        a, b, pred = as_signed(a, bits), as_signed(b, bits), UNSIGNED[pred]
    match pred:
        case Pred.EQ:
            return a == b
        case Pred.NE:
            return a != b
        case Pred.ULT:
            return a < b
        case Pred.ULE:
            return a <= b
        case Pred.UGT:
            return a > b
        case Pred.UGE:
            return a >= b
        case _:
            return a & b != 0


def byte_swap(value: int, bits: int) -> int:
    """The low ``bits`` of ``value`` in the other byte order."""
    size = bits // 8
    return int.from_bytes((value & ((1 << bits) - 1)).to_bytes(size, "little"), "big")


def evaluate(op: Value, operands: list[int]) -> int | None:
    """The result of an integer operation on constant operands, reduced to its type; None for other
    operations."""
    if not isinstance(op.type, IntTy):
        return None
    mask = (1 << op.type.bits) - 1
    match op:
        case Const():
            return op.value
        case ops.Binary():
            return binary(op.op, operands[0], operands[1], op.type.bits)
        case ops.Neg():
            return -operands[0] & mask
        case ops.ByteSwap():
            return byte_swap(operands[0], op.bits)
        case ops.Cmp():
            bits = op.left.type.bits if isinstance(op.left.type, IntTy) else 64
            return int(compare(op.pred, operands[0], operands[1], bits))
        case ops.Trunc():
            return operands[0] & mask
        case ops.Zext():
            return operands[0] & ((1 << op.bits) - 1)
        case ops.Sext():
            return as_signed(operands[0] & ((1 << op.bits) - 1), op.bits) & mask
        case _:
            return None


def possible_bits(value: Value, depth: int = 6) -> int:
    """A mask of the bits that may be set in an integer. Only what the kernel's verifier derives as well is
    used, so that a mask or a check that this makes superfluous is superfluous to the verifier too."""
    if not isinstance(value.type, IntTy):
        return (1 << 64) - 1
    full = (1 << value.type.bits) - 1
    if depth == 0:
        return full
    match value:
        case Const():
            return value.value
        case ops.Load(signed=False):
            return (1 << value.width * 8) - 1
        case ops.Zext(bits=32) if _upper_half_unknown(value.operand, depth):
            return full
        case ops.Zext():
            return possible_bits(value.operand, depth - 1) & ((1 << value.bits) - 1)
        case ops.Trunc():
            return possible_bits(value.operand, depth - 1) & full
        case ops.ByteSwap():
            return (1 << value.bits) - 1
        case ops.Phi():
            found = 0
            for incoming in value.incoming.values():
                # A loop's own contribution is not followed: one step gives up as a rule, two are enough for
                # `x or 0`.
                found |= possible_bits(incoming, min(depth - 1, 2))
            return found
        case ops.Binary():
            return _possible_of_binary(value, full, depth)
        case _:
            return full


def _upper_half_unknown(value: Value, depth: int) -> bool:
    """Whether the verifier takes the whole register for unknown after a 32-bit operation, though its upper half is
    zero: so it does after divisions and after shifts by what it does not know (``adjust_scalar_min_max_vals`` of
    kernel/bpf/verifier.c gives up on them before it looks at the width). Extending costs no instruction that would
    tell it more."""
    match value:
        case ops.Binary(op=op, right=right) if value.type == I32:
            return op in _DIVISIONS or (op in _SHIFTS and not isinstance(right, Const))
        case ops.Phi() if value.type == I32:
            return depth == 0 or any(
                _upper_half_unknown(v, min(depth - 1, 2)) for v in value.incoming.values()
            )
        case _:
            return False


def _possible_of_binary(value: ops.Binary, full: int, depth: int) -> int:
    left = possible_bits(value.left, depth - 1)
    match value.op:
        case BinOp.AND:
            return left & possible_bits(value.right, depth - 1)
        case BinOp.OR | BinOp.XOR:
            return left | possible_bits(value.right, depth - 1)
        case BinOp.ADD:
            highest = left + possible_bits(value.right, depth - 1)
            return full if highest > full else (1 << highest.bit_length()) - 1
        case BinOp.SHL if isinstance(value.right, Const):
            return (left << value.right.value) & full
        case BinOp.LSHR if isinstance(value.right, Const):
            return left >> value.right.value
        case _:
            return full
