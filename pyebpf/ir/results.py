"""What is known of an operation's result when its operands are known: all that is true, and what the verifier keeps.

The kernel's verifier knows less than is true, and its versions differ. A check may only be left out where it knows as
much as the check would tell it; ``verified`` is what it knows in all versions from 6.1 on, or less. It has no bounds of
low halves, because versions differ in what those and the whole tell of each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import arithmetic, bits, bounds, number, ops, relations
from pyebpf.ir.number import Number
from pyebpf.ir.ops import BinOp, Const, Value
from pyebpf.ir.types import I1, I32, I64, IntTy

if TYPE_CHECKING:
    from typing import Final


_LOW: Final = (1 << 32) - 1
_ANYTHING_RIGHT: Final = frozenset({BinOp.ADD, BinOp.SUB, BinOp.AND})
"""Followed by every verifier, also where it knows no operand. Versions before 6.10 give up on all others then."""

_CONSTANT_RIGHT: Final = frozenset({BinOp.OR, BinOp.XOR, BinOp.MUL, BinOp.SHL, BinOp.LSHR, BinOp.ASHR})
"""Followed by every verifier where the right operand is a constant. No version follows divisions."""


def width_of(value: Value) -> int:
    """The width of an integer."""
    assert isinstance(value.type, IntTy)
    return value.type.bits


def true(op: Value, operands: Sequence[Number]) -> Number | None:
    """What is true of the result of an integer operation.

    Parameters:
        op: any operation or parameter with an integer result, but for phis.
        operands: what is known of its integer operands, in order.
    """
    width = width_of(op)
    match op:
        case Const(value=value):
            return number.constant(width, value)
        case ops.Binary(op=kind):
            return arithmetic.binary(kind, operands[0], operands[1])
        case ops.Neg():
            return arithmetic.negate(operands[0])
        case ops.ByteSwap(bits=low):
            return arithmetic.byte_swapped(operands[0], low)
        case ops.Trunc():
            return arithmetic.cut(operands[0], width)
        case ops.Zext(bits=low):
            return arithmetic.zero_extended(operands[0], low, width)
        case ops.Sext(bits=low):
            return arithmetic.sign_extended(operands[0], low, width)
        case ops.Load():
            return arithmetic.loaded(width, op.width * 8, signed=op.signed)
        case ops.Cmp() if len(operands) == 2:
            return _answer(op, operands)
        case _:
            return number.unknown(width)


def verified(op: Value, operands: Sequence[Number]) -> Number | None:
    """What every verifier keeps of the result; otherwise as ``true``."""
    width = width_of(op)
    match op:
        case Const(value=value):
            return number.constant(width, value, halves=False)
        case ops.Load(signed=False) if width == 64:
            return arithmetic.loaded(width, op.width * 8, signed=False, halves=False)
        case ops.Binary(op=kind, right=right) if op.type == I64:
            if kind in _ANYTHING_RIGHT or (kind in _CONSTANT_RIGHT and isinstance(right, Const)):
                return _verified_binary(kind, operands[0], operands[1])
        case ops.Binary(op=kind) if op.type == I1:  # true or false on each way that the verifier follows
            return arithmetic.binary(kind, operands[0], operands[1])
        case ops.Zext(bits=low, operand=operand):
            return _verified_zext(operand, operands[0], low)
        case ops.Cmp(right=Const()) if op.left.type == I64:
            return _answer(op, operands)
        case _:
            pass
    return number.unknown(width, halves=False)


def _answer(op: ops.Cmp, operands: Sequence[Number]) -> Number:
    known = relations.decided(op.pred, operands[0], operands[1])
    return number.unknown(1) if known is None else number.constant(1, int(known))


def _verified_binary(kind: BinOp, a: Number, b: Number) -> Number | None:
    match kind:
        # Written as a negation, which versions before 6.18 do not follow.
        case BinOp.SUB if a.constant == 0:
            return number.unknown(64, halves=False)
        case BinOp.MUL if b.constant == (1 << 64) - 1:
            return number.unknown(64, halves=False)
        # The verifier gives up bounds where a product or shift might not stay positive; of bits it keeps as much.
        case BinOp.MUL if min(a.wide[2], b.wide[2]) < 0 or max(a.wide[1], b.wide[1]) > _LOW:
            return number.reduced(64, bounds.full(64), None, bits.mul(a.known, b.known, (1 << 64) - 1))
        case BinOp.SHL if a.wide[1] >= 1 << 63 >> b.wide[0]:
            return number.reduced(64, bounds.full(64), None, bits.shl(a.known, b.wide[0], (1 << 64) - 1))
        case _:
            return arithmetic.binary(kind, a, b)


def _verified_zext(operand: Value, a: Number, low: int) -> Number | None:
    """A mask of 8 or 16 bits is an ``and``. From 32 bits on it is a 32-bit move, which keeps bits only, or none at all
    behind what may become a 32-bit operation, of some of which the verifier then knows nothing."""
    if low == 1:
        return number.unknown(64, halves=False) if operand.type != I1 else _widened(a)
    if low < 32:
        mask = number.constant(a.width, (1 << low) - 1, halves=False)
        return (
            arithmetic.binary(BinOp.AND, a, mask) if operand.type == I64 else number.unknown(64, halves=False)
        )
    if operand.type == I32 or not _stays_wide(operand):
        return number.unknown(64, halves=False)
    return number.reduced(64, bounds.full(64), None, (a.known[0] & _LOW, a.known[1] & _LOW))


def _widened(a: Number) -> Number:
    value = a.constant
    return _BOOLEAN if value is None else number.constant(64, value, halves=False)


def _stays_wide(value: Value) -> bool:
    match value:
        case ops.Binary(op=kind, right=right):
            return kind in _ANYTHING_RIGHT or (kind in _CONSTANT_RIGHT and isinstance(right, Const))
        case ops.Load() | ops.Param() | ops.Call() | ops.CallHelper() | ops.Zext():
            return True
        case _:
            return False


_BOOLEAN: Final = Number(64, (0, 1, 0, 1), None, (0, 1))
