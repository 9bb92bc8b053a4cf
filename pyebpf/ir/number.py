"""What is known of an integer: an abstract value that stands for a set of numbers.

As the kernel's verifier does, a ``Number`` keeps bounds without and with sign, known bits, and bounds of the low half,
which 32-bit operations and comparisons tell of. Each narrows the others. The width is a parameter, so that the tests
can try all numbers of a few bits. ``None`` in place of a ``Number`` stands for no number at all: control never comes
there.
"""

from __future__ import annotations

from functools import cache

from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import bits as known_bits
from pyebpf.ir import bounds
from pyebpf.ir.bits import Bits
from pyebpf.ir.bounds import Bounds
from pyebpf.records import dataclass

if TYPE_CHECKING:
    from typing import Final


_ROUNDS: Final = 4
"""How often the parts may narrow one another: after that hardly anything is left to find."""


@dataclass(frozen=True, slots=True)
class Number:
    """All numbers of ``width`` bits within ``wide``, of which the low half is within ``low``, with bits as ``known``.

    ``low`` is None where the low half has no bounds of its own. Make one with the functions of this module, which let
    each part narrow the others.
    """

    width: int
    wide: Bounds
    low: Bounds | None
    known: Bits

    @property
    def constant(self) -> int | None:
        """The only number, without sign, if there is only one."""
        return self.wide[0] if self.wide[0] == self.wide[1] else None

    @property
    def possible(self) -> int:
        """The bits that may be set."""
        return self.known[0] | self.known[1]

    def contains(self, value: int) -> bool:
        """Whether ``value`` (without sign) is among the numbers."""
        if (value ^ self.known[0]) & ~self.known[1]:
            return False
        half = self.width // 2
        low = value & ((1 << half) - 1)
        return _within(value, self.wide, self.width) and (self.low is None or _within(low, self.low, half))

    def __str__(self) -> str:
        least, greatest, signed_least, signed_greatest = self.wide
        parts = [f"{least}…{greatest}"]
        if signed_least != least:
            parts.append(f"{signed_least}…{signed_greatest}")
        if self.known[0] or self.known[1] & (self.known[1] + 1):
            parts.append(f"bits {self.known[0]:#x} or {self.known[1]:#x}")
        return ", ".join(parts)


def _within(value: int, within: Bounds, width: int) -> bool:
    signed = value - (1 << width) if value >> (width - 1) else value
    return within[0] <= value <= within[1] and within[2] <= signed <= within[3]


@cache
def unknown(width: int, *, halves: bool = True) -> Number:
    """Any number of ``width`` bits; with bounds of its low half where ``halves``."""
    low = bounds.full(width // 2) if halves and width > 2 else None
    return Number(width, bounds.full(width), low, (0, (1 << width) - 1))


def constant(width: int, value: int, *, halves: bool = True) -> Number:
    """The number ``value`` (without sign)."""
    low = _exactly(value, width // 2) if halves and width > 2 else None
    return Number(width, _exactly(value, width), low, (value, 0))


def _exactly(value: int, width: int) -> Bounds:
    value &= (1 << width) - 1
    signed = value - (1 << width) if value >> (width - 1) else value
    return value, value, signed, signed


def join(a: Number, b: Number) -> Number:
    """A number that may be either."""
    if a is b:
        return a
    low = None if a.low is None or b.low is None else bounds.join(a.low, b.low)
    joined = reduced(a.width, bounds.join(a.wide, b.wide), low, known_bits.join(a.known, b.known))
    assert joined is not None, "a join holds what either side holds"
    return joined


def meet(a: Number, b: Number) -> Number | None:
    """A number that is both; None if none can be."""
    if a is b:
        return a
    known = known_bits.meet(a.known, b.known)
    if known is None:
        return None
    low = None if a.low is None or b.low is None else bounds.meet(a.low, b.low)
    return reduced(a.width, bounds.meet(a.wide, b.wide), low, known)


def widen(old: Number, new: Number) -> Number:
    """Around both, so that doing so again and again ends soon: bounds that move are given up."""
    width = old.width
    low = None if old.low is None or new.low is None else bounds.widen(old.low, new.low, width // 2)
    wide = bounds.widen(old.wide, new.wide, width)
    return Number(width, wide, low, known_bits.widen(old.known, new.known, (1 << width) - 1))


def reduced(width: int, wide: Bounds, low: Bounds | None, known: Bits) -> Number | None:
    """The number with these bounds and bits, each part narrowed by the others; None if they leave no number.

    Without ``low`` this is one round in the verifier's order, and finds no more than the verifier.
    """
    if low is None:
        narrowed = _bounds_by_bits(wide, known, width)
        met = known_bits.meet(known, known_bits.between(narrowed[0], narrowed[1])) if narrowed else None
        if narrowed is None or met is None:
            return None
        last = narrowed if met == known else _bounds_by_bits(narrowed, met, width)
        return Number(width, last, None, met) if last else None
    for _ in range(_ROUNDS):
        found = _narrowed(width, wide, low, known)
        if found is None or found == (wide, low, known):
            break
        wide, low, known = found
    return Number(width, *found) if found else None


def _narrowed(width: int, wide: Bounds, low: Bounds, known: Bits) -> tuple[Bounds, Bounds, Bits] | None:
    """A round of ``reduced``, with the low half."""
    half = width // 2
    mask = (1 << half) - 1
    narrowed = _bounds_by_bits(wide, known, width)
    lower = _bounds_by_bits(low, (known[0] & mask, known[1] & mask), half)
    if narrowed is None or lower is None:
        return None
    halves = _between_halves(narrowed, lower, half)
    if halves is None:
        return None
    narrowed, lower = halves
    ones, either = known_bits.between(lower[0], lower[1])
    met = known_bits.meet(known, (ones, either | (1 << width) - 1 & ~mask))
    met = known_bits.meet(met, known_bits.between(narrowed[0], narrowed[1])) if met else None
    return (narrowed, lower, met) if met else None


def _bounds_by_bits(within: Bounds, known: Bits, width: int) -> Bounds | None:
    """Bounds narrowed by known bits, and those without and with sign by one another."""
    least, greatest, signed_least, signed_greatest = within
    ones, either = known
    sign = 1 << width >> 1
    least = max(least, ones)
    greatest = min(greatest, ones | either)
    signed_least = max(signed_least, ((ones | either & sign) ^ sign) - sign)
    signed_greatest = min(signed_greatest, ((ones | either & ~sign) ^ sign) - sign)
    if signed_least >= 0:
        least, greatest = max(least, signed_least), min(greatest, signed_greatest)
    elif signed_greatest < 0:
        whole = sign << 1
        least, greatest = max(least, signed_least + whole), min(greatest, signed_greatest + whole)
    if greatest < sign:
        signed_least, signed_greatest = max(signed_least, least), min(signed_greatest, greatest)
    elif least >= sign:
        whole = sign << 1
        signed_least = max(signed_least, least - whole)
        signed_greatest = min(signed_greatest, greatest - whole)
    if least > greatest or signed_least > signed_greatest:
        return None
    return least, greatest, signed_least, signed_greatest


def _between_halves(wide: Bounds, low: Bounds, half: int) -> tuple[Bounds, Bounds] | None:
    """Bounds of a number and of its low half, narrowed by one another."""
    mask = (1 << half) - 1
    least, greatest = _fitting(wide[0], low, mask, 1), _fitting(wide[1], low, mask, -1)
    if least > greatest:
        return None
    if least >> half == greatest >> half:
        low = max(low[0], least & mask), min(low[1], greatest & mask), low[2], low[3]
        if low[0] > low[1]:
            return None
    if wide[2] >> half == wide[3] >> half:
        # Both ends have the same upper half, so the low half goes from one end to the other.
        low = max(low[0], wide[2] & mask), min(low[1], wide[3] & mask), low[2], low[3]
        if low[0] > low[1]:
            return None
    return (least, greatest, wide[2], wide[3]), low


def _fitting(end: int, low: Bounds, mask: int, step: int) -> int:
    """The next number from ``end`` on, upwards or downwards, with its low half within ``low``."""
    here = end & mask
    if low[0] <= here <= low[1]:
        return end
    above = end & ~mask
    if step > 0:
        return above + low[0] if here < low[0] else above + mask + 1 + low[0]
    return above + low[1] if here > low[1] else above - mask - 1 + low[1]
