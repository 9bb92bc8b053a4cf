"""Numbers for the tests: all that there are at a few bits, and random ones around a value at any width."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from hypothesis import strategies as st

from pyebpf.ir import bounds, number
from pyebpf.ir.number import Number
from tests.unit.ir.interp import as_signed

EDGES = (
    0,
    1,
    2,
    7,
    8,
    63,
    64,
    255,
    256,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    1 << 32,
    1 << 63,
    (1 << 64) - 1,
)


@cache
def members(n: Number) -> int:
    """The numbers that ``n`` stands for, as a mask of those below ``2**width``; for a few bits."""
    return sum(1 << value for value in range(1 << n.width) if n.contains(value))


def _intervals(width: int) -> Iterator[bounds.Bounds]:
    half = 1 << width >> 1
    for least in range(1 << width):
        for greatest in range(least, 1 << width):
            yield least, greatest, -half, half - 1
            yield 0, 2 * half - 1, least - half, greatest - half


@cache
def small_numbers(width: int, *, halves: bool) -> tuple[Number, ...]:
    """Each number of ``width`` bits that an interval (without or with sign), known bits, or bounds of the low half
    alone describe."""
    full = (1 << width) - 1
    nothing = bounds.full(width)
    low = bounds.full(width // 2) if halves else None
    found = [number.reduced(width, wide, low, (0, full)) for wide in _intervals(width)]
    for either in range(1 << width):
        found += [
            number.reduced(width, nothing, low, (ones, either))
            for ones in range(1 << width)
            if not ones & either
        ]
    if halves:
        found += [number.reduced(width, nothing, lower, (0, full)) for lower in _intervals(width // 2)]
    return tuple(dict.fromkeys(n for n in found if n is not None))


@st.composite
def around(draw: st.DrawFn, value: int, width: int = 64, *, halves: bool = True) -> Number:
    """A number that may be ``value``."""

    def distances() -> st.SearchStrategy[int]:
        return st.one_of(st.integers(0, 3), st.integers(0, width).map(lambda n: (1 << n) - 1))

    def within(value: int, width: int) -> bounds.Bounds:
        signed, half = as_signed(value, width), 1 << (width - 1)
        return (
            max(value - draw(distances()), 0),
            min(value + draw(distances()), 2 * half - 1),
            max(signed - draw(distances()), -half),
            min(signed + draw(distances()), half - 1),
        )

    either = draw(
        st.one_of(
            st.just((1 << width) - 1), st.integers(0, (1 << width) - 1), st.sampled_from((0, 7, 0xFF00))
        )
    )
    either &= (1 << width) - 1
    half = width // 2
    low = within(value & ((1 << half) - 1), half) if halves else None
    found = number.reduced(width, within(value, width), low, (value & ~either, either))
    assert found is not None and found.contains(value)
    return found


def words(width: int = 64) -> st.SearchStrategy[int]:
    """Values of a width, edges often."""
    return st.one_of(
        st.integers(0, (1 << width) - 1),
        st.integers(0, 70),
        st.sampled_from([edge % (1 << width) for edge in EDGES]),
    )
