"""What is known of the results of operations when something is known of their operands.

One function for each kind of operation of the SSA; none of them is ever wrong, and each is exact for constants. An
operation that the IR excludes (division by zero, too large a shift) is taken not to happen.
"""

from __future__ import annotations

from collections.abc import Callable

from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import bits, bounds, number
from pyebpf.ir.bits import Bits
from pyebpf.ir.bounds import Bounds
from pyebpf.ir.number import Number
from pyebpf.ir.ops import BinOp

if TYPE_CHECKING:
    from typing import Final


_BOUNDS: Final[dict[BinOp, Callable[[Bounds, Bounds, int], Bounds]]] = {
    BinOp.ADD: bounds.add,
    BinOp.SUB: bounds.sub,
    BinOp.MUL: bounds.mul,
    BinOp.UDIV: bounds.udiv,
    BinOp.UREM: bounds.urem,
    BinOp.SDIV: bounds.sdiv,
    BinOp.SREM: bounds.srem,
    BinOp.AND: bounds.both,
    BinOp.OR: bounds.either,
    BinOp.XOR: bounds.differ,
}
_BITS: Final[dict[BinOp, Callable[[Bits, Bits, int], Bits]]] = {
    BinOp.ADD: bits.add,
    BinOp.SUB: bits.sub,
    BinOp.MUL: bits.mul,
    BinOp.AND: lambda a, b, _: bits.both(a, b),
    BinOp.OR: lambda a, b, _: bits.either(a, b),
    BinOp.XOR: lambda a, b, _: bits.differ(a, b),
}
_DIVISIONS: Final = frozenset({BinOp.UDIV, BinOp.UREM, BinOp.SDIV, BinOp.SREM})
SHIFTS: Final = frozenset({BinOp.SHL, BinOp.LSHR, BinOp.ASHR})
"""Their right operand is a count."""


def binary(op: BinOp, a: Number, b: Number) -> Number | None:
    """``a op b``, of two numbers of one width."""
    if op in SHIFTS:
        return _shift(op, a, b)
    width = a.width
    full = (1 << width) - 1
    low = None
    if a.low is not None and b.low is not None:
        # The low half of the result hangs on the low halves alone, but for divisions.
        half = width // 2
        low = bounds.full(half) if op in _DIVISIONS else _BOUNDS[op](a.low, b.low, half)
    known = _BITS[op](a.known, b.known, full) if op in _BITS else (0, full)
    return number.reduced(width, _BOUNDS[op](a.wide, b.wide, width), low, known)


def _shift(op: BinOp, a: Number, b: Number) -> Number | None:
    width = a.width
    full = (1 << width) - 1
    least, most = b.wide[0], min(b.wide[1], width - 1)
    if least > most:
        return None
    low = None if a.low is None or b.low is None else bounds.full(width // 2)
    known = 0, full
    if least == most:
        match op:
            case BinOp.SHL:
                known = bits.shl(a.known, least, full)
                if low is not None and a.low is not None and least < width // 2:
                    low = bounds.shl(a.low, (least, least), width // 2)
            case BinOp.LSHR:
                known = bits.lshr(a.known, least)
            case _:
                known = bits.ashr(a.known, least, full)
    elif op is BinOp.SHL:
        zeros = (a.possible & -a.possible or full + 1) - 1 << least  # they stay at the end, and more come
        known = 0, full & ~(zeros | (1 << least) - 1)
    move = {BinOp.SHL: bounds.shl, BinOp.LSHR: bounds.lshr}.get(op, bounds.ashr)
    return number.reduced(width, move(a.wide, (least, most), width), low, known)


def negate(a: Number) -> Number | None:
    """``-a``."""
    return binary(BinOp.SUB, number.constant(a.width, 0, halves=a.low is not None), a)


def cut(a: Number, width: int, *, halves: bool = True) -> Number | None:
    """The low ``width`` bits of ``a``, as a number of that width."""
    return _resized(a, width, width, signed=False, halves=halves)


def zero_extended(a: Number, low_bits: int, width: int, *, halves: bool = True) -> Number | None:
    """The low ``low_bits`` of ``a``, extended by zeros to ``width`` bits."""
    return _resized(a, low_bits, width, signed=False, halves=halves)


def sign_extended(a: Number, low_bits: int, width: int, *, halves: bool = True) -> Number | None:
    """The low ``low_bits`` of ``a`` as a number with sign, extended to ``width`` bits."""
    return _resized(a, low_bits, width, signed=True, halves=halves)


def _resized(a: Number, low_bits: int, width: int, *, signed: bool, halves: bool) -> Number | None:
    if low_bits == width == a.width:
        return a
    mask = (1 << low_bits) - 1
    sign = 1 << low_bits >> 1
    part = _low_bounds(a, low_bits)
    narrow = number.reduced(low_bits, part, None, (a.known[0] & mask, a.known[1] & mask))
    if narrow is None:
        return None
    full = (1 << width) - 1
    ones, either = narrow.known
    least, greatest, signed_least, signed_greatest = narrow.wide
    low = bounds.full(width // 2) if halves and width > 2 else None
    if signed:
        ones, either = (((x ^ sign) - sign) & full for x in (ones, either))
        wide = (*bounds.full(width)[:2], signed_least, signed_greatest)
    elif low_bits == width:  # the sign is still the sign
        wide = narrow.wide
    else:
        wide = (least, greatest, *bounds.full(width)[2:])
    return number.reduced(width, wide, low, (ones, either))


def _low_bounds(a: Number, low_bits: int) -> Bounds:
    """Bounds of the low bits, as far as those of ``a`` or of its low half tell."""
    if low_bits == a.width:
        return a.wide
    mask = (1 << low_bits) - 1
    best = bounds.full(low_bits)
    sources = [a.wide]
    if a.low is not None and low_bits <= a.width // 2:
        if low_bits == a.width // 2:
            best = a.low
        sources.append(a.low)
    for least, greatest, signed_least, signed_greatest in sources:
        for low, high in ((least, greatest), (signed_least, signed_greatest)):
            if low >> low_bits == high >> low_bits:
                best = max(best[0], low & mask), min(best[1], high & mask), best[2], best[3]
            # The same half a turn on: where numbers with sign do not wrap around.
            sign = 1 << low_bits >> 1
            if (low + sign) >> low_bits == (high + sign) >> low_bits:
                shifted = (((x + sign) & mask) - sign for x in (low, high))
                signed_low, signed_high = shifted
                best = best[0], best[1], max(best[2], signed_low), min(best[3], signed_high)
    return best


def extended_from(a: Number, extended: Number, low_bits: int) -> Number | None:
    """``a``, of which the low ``low_bits`` were extended, or cut off, to ``extended``."""
    mask = (1 << low_bits) - 1
    ones, either = extended.known
    known = bits.meet(a.known, (ones & mask, either & mask | (1 << a.width) - 1 & ~mask))
    part = cut(extended, low_bits, halves=False)
    if known is None or part is None:
        return None
    wide, low = a.wide, a.low
    if low is not None and low_bits == a.width // 2:
        low = bounds.meet(low, part.wide)
    sign = 1 << low_bits >> 1
    if wide[1] <= mask:
        wide = bounds.meet(wide, (part.wide[0], part.wide[1], wide[2], wide[3]))
    if wide[2] >= -sign and wide[3] < sign:
        wide = bounds.meet(wide, (wide[0], wide[1], part.wide[2], part.wide[3]))
    return number.reduced(a.width, wide, low, known)


def byte_swapped(a: Number, low_bits: int, *, halves: bool = True) -> Number | None:
    """The low ``low_bits`` of ``a`` in the other byte order, extended by zeros."""
    ones, either = (_swap(x, low_bits) for x in a.known)
    low = bounds.full(a.width // 2) if halves and a.width > 2 else None
    return number.reduced(a.width, bounds.full(a.width), low, (ones, either))


def _swap(value: int, low_bits: int) -> int:
    size = low_bits // 8
    return int.from_bytes((value & ((1 << low_bits) - 1)).to_bytes(size, "little"), "big")


def loaded(width: int, low_bits: int, *, signed: bool, halves: bool = True) -> Number:
    """Any number of ``low_bits`` bits, extended to ``width``."""
    extend = sign_extended if signed else zero_extended
    found = extend(number.unknown(width), min(low_bits, width), width, halves=halves)
    assert found is not None
    return found
