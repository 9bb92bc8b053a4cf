"""Integer arithmetic and comparison: Python's meaning in terms of two's complement operations.

Operands are ``Number``: an i64 with the static type that says whether its bits are signed and what is known
of it. What holds at run time is asked through ``never_negative`` and ``at_most``, which count only intervals
that survive wrapping."""

from __future__ import annotations

from pyebpf.frontend.build_state import Number, State
from pyebpf.frontend.tree import ArithOp, CompareOp, Exc
from pyebpf.frontend.types import I64_MAX
from pyebpf.hints import assert_never
from pyebpf.ir.ops import BinOp, Pred, Value

_SIMPLE = {
    ArithOp.ADD: BinOp.ADD,
    ArithOp.SUB: BinOp.SUB,
    ArithOp.MUL: BinOp.MUL,
    ArithOp.AND: BinOp.AND,
    ArithOp.OR: BinOp.OR,
    ArithOp.XOR: BinOp.XOR,
    ArithOp.SHL: BinOp.SHL,
}


def arith(f: State, op: ArithOp, left: Number, right: Number, *, may_be_zero: bool) -> Value:
    """``left op right``, wrapped to 64 bits. FLOORDIV and MOD raise ZERO_DIVISION where ``may_be_zero``."""
    match op:
        case ArithOp.FLOORDIV | ArithOp.MOD:
            if may_be_zero:
                f.fail_if(f.b.cmp(Pred.EQ, right.value, f.b.const(0)), Exc.ZERO_DIVISION)
            return _floor(f, op, left, right)
        case ArithOp.SHR:
            shift = BinOp.LSHR if left.never_negative else BinOp.ASHR
            return f.b.binary(shift, left.value, right.value)
        case _:
            return f.b.binary(_SIMPLE[op], left.value, right.value)


def _floor(f: State, op: ArithOp, left: Number, right: Number) -> Value:
    """Division that rounds towards minus infinity, or its remainder, which has the divisor's sign."""
    quotient = op is ArithOp.FLOORDIV
    if left.never_negative and right.never_negative:
        return f.b.binary(BinOp.UDIV if quotient else BinOp.UREM, left.value, right.value)
    if right.never_negative:
        return _floor_by_positive(f, quotient, left.value, right)
    if left.type.unsigned:
        return _floor_unsigned_by_signed(f, quotient, left.value, right.value)
    return _floor_signed(f, quotient, left.value, right.value)


def _floor_by_positive(f: State, quotient: bool, left: Value, right: Number) -> Value:
    """A signed number by a positive one. With s = -1 for negative numbers, else 0: ((left ^ s) / right) ^
    s."""
    divisor = right.constant
    if divisor is not None and divisor > 0 and divisor & (divisor - 1) == 0:
        if quotient:
            return f.b.binary(BinOp.ASHR, left, f.b.const(divisor.bit_length() - 1))
        return f.b.binary(BinOp.AND, left, f.b.const(divisor - 1))
    sign = f.b.binary(BinOp.ASHR, left, f.b.const(63))
    magnitude = f.b.binary(BinOp.XOR, left, sign)
    divided = f.b.binary(BinOp.XOR, f.b.binary(BinOp.UDIV, magnitude, right.value), sign)
    return divided if quotient else _remainder(f, left, divided, right.value)


def _remainder(f: State, left: Value, divided: Value, right: Value) -> Value:
    return f.b.binary(BinOp.SUB, left, f.b.binary(BinOp.MUL, divided, right))


def _floor_signed(f: State, quotient: bool, left: Value, right: Value) -> Value:
    """Two signed numbers: the truncated division is one too high where the remainder is not 0 and its sign is
    not the divisor's. ``fix`` is -1 there and 0 elsewhere."""
    rest = f.b.binary(BinOp.SREM, left, right)
    differ = f.b.binary(BinOp.XOR, rest, right)
    nonzero = f.b.binary(BinOp.OR, rest, f.negated(rest))
    fix = f.b.binary(BinOp.ASHR, f.b.binary(BinOp.AND, differ, nonzero), f.b.const(63))
    if quotient:
        return f.b.binary(BinOp.ADD, f.b.binary(BinOp.SDIV, left, right), fix)
    return f.b.binary(BinOp.ADD, rest, f.b.binary(BinOp.AND, right, fix))


def _floor_unsigned_by_signed(f: State, quotient: bool, left: Value, right: Value) -> Value:
    """A u64 by an i64. For a negative divisor the quotient is ~((left - 1) / -right), and 0 for 0."""
    negative, positive, nonzero, done = (
        f.b.new_block(n) for n in ("negative", "positive", "nonzero", "divided")
    )
    zero = f.b.const(0)
    f.b.branch(f.b.cmp(Pred.SLT, right, zero), negative, positive)
    f.go(positive)
    plain = f.b.binary(BinOp.UDIV, left, right)
    f.b.jump(done)
    f.go(negative)
    f.b.branch(f.b.cmp(Pred.EQ, left, zero), done, nonzero)
    f.go(nonzero)
    below = f.b.binary(BinOp.SUB, left, f.b.const(1))
    floor = f.b.binary(BinOp.XOR, f.b.binary(BinOp.UDIV, below, f.negated(right)), f.b.const(-1))
    f.b.jump(done)
    f.go(done)
    divided = f.b.phi(zero.type, {positive: plain, negative: zero, nonzero: floor})
    return divided if quotient else _remainder(f, left, divided, right)


# ---------------------------------------------------------------- comparison

_SIGNED = {
    CompareOp.EQ: Pred.EQ,
    CompareOp.NE: Pred.NE,
    CompareOp.LT: Pred.SLT,
    CompareOp.LE: Pred.SLE,
    CompareOp.GT: Pred.SGT,
    CompareOp.GE: Pred.SGE,
}
_UNSIGNED = _SIGNED | {
    CompareOp.LT: Pred.ULT,
    CompareOp.LE: Pred.ULE,
    CompareOp.GT: Pred.UGT,
    CompareOp.GE: Pred.UGE,
}
_MIRRORED = {
    CompareOp.EQ: CompareOp.EQ,
    CompareOp.NE: CompareOp.NE,
    CompareOp.LT: CompareOp.GT,
    CompareOp.LE: CompareOp.GE,
    CompareOp.GT: CompareOp.LT,
    CompareOp.GE: CompareOp.LE,
}
NEGATED = {
    CompareOp.EQ: CompareOp.NE,
    CompareOp.NE: CompareOp.EQ,
    CompareOp.LT: CompareOp.GE,
    CompareOp.LE: CompareOp.GT,
    CompareOp.GT: CompareOp.LE,
    CompareOp.GE: CompareOp.LT,
}


def compare(f: State, op: CompareOp, left: Number, right: Number) -> Value:
    """The i1 ``left op right`` by mathematical value."""
    if left.never_negative and right.never_negative:
        return f.b.cmp(_UNSIGNED[op], left.value, right.value)
    if not left.type.unsigned and not right.type.unsigned:
        return f.b.cmp(_SIGNED[op], left.value, right.value)
    if left.type.unsigned and right.type.unsigned:
        return f.b.cmp(_UNSIGNED[op], left.value, right.value)
    if right.type.unsigned:
        op, left, right = _MIRRORED[op], right, left
    # A u64 with an i64 that may be negative.
    if left.at_most(I64_MAX):
        return f.b.cmp(_SIGNED[op], left.value, right.value)
    bits = f.b.cmp(_UNSIGNED[op], left.value, right.value)
    zero = f.b.const(0)
    match op:
        case CompareOp.EQ | CompareOp.LT | CompareOp.LE:
            return f.b.binary(BinOp.AND, bits, f.b.cmp(Pred.SGE, right.value, zero))
        case CompareOp.NE | CompareOp.GT | CompareOp.GE:
            return f.b.binary(BinOp.OR, bits, f.b.cmp(Pred.SLT, right.value, zero))
        case _:
            assert_never(op)


# ---------------------------------------------------------------- conversions


def wrap(f: State, bits: int, signed: bool, operand: Number) -> Value:
    """The low ``bits`` of ``operand``, as a number of that width."""
    if bits == 64:
        return operand.value
    lo, hi = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    number = operand.type
    if number.exact and lo <= number.lo and number.hi <= hi:
        return operand.value
    return f.b.sext(bits, operand.value) if signed else f.b.zext(bits, operand.value)


def swap(f: State, bits: int, operand: Value) -> Value:
    """The low ``bits`` in network order, the rest zero."""
    if f.target.little_endian:
        return f.b.bswap(bits, operand)
    return operand if bits == 64 else f.b.zext(bits, operand)


def log2(f: State, operand: Value) -> Value:
    """The place of the highest one bit, 0 for 0, by halving: six steps without a branch.

    With x below 2**32, (limit - x) >> 63 is 1 if x is above the limit.
    """
    high = f.b.binary(BinOp.LSHR, operand, f.b.const(32))
    rest: Value = operand
    found: Value | None = None
    above: Value = f.b.binary(BinOp.LSHR, f.negated(high), f.b.const(63))
    for step in (5, 4, 3, 2):
        shift = f.b.binary(BinOp.SHL, above, f.b.const(step))
        rest = f.b.binary(BinOp.LSHR, rest, shift)
        found = shift if found is None else f.b.binary(BinOp.OR, found, shift)
        limit = (1 << (1 << (step - 1))) - 1
        above = f.b.binary(BinOp.LSHR, f.b.binary(BinOp.SUB, f.b.const(limit), rest), f.b.const(63))
    shift = f.b.binary(BinOp.SHL, above, f.b.const(1))
    last = f.b.binary(BinOp.LSHR, f.b.binary(BinOp.LSHR, rest, shift), f.b.const(1))  # of 0 … 3
    assert found is not None
    return f.b.binary(BinOp.OR, f.b.binary(BinOp.OR, found, shift), last)


def element_offset(f: State, index: Value, size: int) -> Value:
    """``index * size`` as an offset in bytes."""
    if size == 1:
        return index
    if size & (size - 1) == 0:
        return f.b.binary(BinOp.SHL, index, f.b.const(size.bit_length() - 1))
    return f.b.binary(BinOp.MUL, index, f.b.const(size))
