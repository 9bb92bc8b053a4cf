"""Bounds: between which numbers a result lies, without sign and with sign, at any width.

Four numbers: the least and the greatest without sign, the least and the greatest with sign. Each function gives what
follows of the operands' bounds for the result; a pair of bounds that may be crossed by wrapping around is given up, as
the kernel's verifier does. What one pair tells of the other is left to ``pyebpf.ir.number``.
"""

from __future__ import annotations

from collections.abc import Iterable

Bounds = tuple[int, int, int, int]
_Pair = tuple[int, int]


def full(bits: int) -> Bounds:
    """No bounds."""
    half = 1 << bits >> 1
    return 0, (1 << bits) - 1, -half, half - 1


def join(a: Bounds, b: Bounds) -> Bounds:
    """Around both."""
    return min(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), max(a[3], b[3])


def meet(a: Bounds, b: Bounds) -> Bounds:
    """Inside of both; the least may come out above the greatest."""
    return max(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), min(a[3], b[3])


def widen(old: Bounds, new: Bounds, bits: int) -> Bounds:
    """``old``, without the bounds that ``new`` crosses."""
    least, greatest, signed_least, signed_greatest = full(bits)
    return (
        old[0] if old[0] <= new[0] else least,
        old[1] if old[1] >= new[1] else greatest,
        old[2] if old[2] <= new[2] else signed_least,
        old[3] if old[3] >= new[3] else signed_greatest,
    )


def _unsigned(low: int, high: int, bits: int) -> _Pair:
    mask = (1 << bits) - 1
    return (low, high) if low >= 0 and high <= mask else (0, mask)


def _signed(low: int, high: int, bits: int) -> _Pair:
    half = 1 << bits >> 1
    return (low, high) if low >= -half and high < half else (-half, half - 1)


def _no_sign(low: int, high: int, bits: int) -> Bounds:
    return (*_unsigned(low, high, bits), *full(bits)[2:])


def _with_sign(low: int, high: int, bits: int) -> Bounds:
    return (*full(bits)[:2], *_signed(low, high, bits))


def add(a: Bounds, b: Bounds, bits: int) -> Bounds:
    """``a + b``."""
    return (*_unsigned(a[0] + b[0], a[1] + b[1], bits), *_signed(a[2] + b[2], a[3] + b[3], bits))


def sub(a: Bounds, b: Bounds, bits: int) -> Bounds:
    """``a - b``."""
    return (*_unsigned(a[0] - b[1], a[1] - b[0], bits), *_signed(a[2] - b[3], a[3] - b[2], bits))


def mul(a: Bounds, b: Bounds, bits: int) -> Bounds:
    """``a * b``."""
    corners = [x * y for x in a[2:] for y in b[2:]]
    return (*_unsigned(a[0] * b[0], a[1] * b[1], bits), *_signed(min(corners), max(corners), bits))


def udiv(a: Bounds, b: Bounds, bits: int) -> Bounds:
    """``a // b`` without sign; the divisor is not zero."""
    return _no_sign(a[0] // max(b[1], 1), a[1] // max(b[0], 1), bits)


def urem(a: Bounds, b: Bounds, bits: int) -> Bounds:
    """``a % b`` without sign; the divisor is not zero."""
    if a[1] < b[0]:
        return a
    if b[0] == b[1] > 0 and (turns := a[0] // b[0]) == a[1] // b[0]:
        return _no_sign(a[0] - turns * b[0], a[1] - turns * b[0], bits)
    return _no_sign(0, min(a[1], max(b[1] - 1, 0)), bits)


def sdiv(a: Bounds, b: Bounds, bits: int) -> Bounds:
    """``a / b`` with sign, towards zero; the divisor is not zero. The least number divided by -1 wraps around."""
    divisors = {b[2], b[3], *(d for d in (-1, 1) if b[2] <= d <= b[3])} - {0}
    if not divisors:
        return full(bits)
    corners = [_towards_zero(x, d) for x in a[2:] for d in divisors]
    return _with_sign(min(corners), max(corners), bits)


def _towards_zero(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def srem(a: Bounds, b: Bounds, bits: int) -> Bounds:
    """The remainder of ``sdiv``, which has the dividend's sign."""
    if max(-a[2], a[3]) < _least_size(b):
        return a
    if b[2] == b[3] != 0 and (turns := _towards_zero(a[2], b[2])) == _towards_zero(a[3], b[2]):
        return _with_sign(a[2] - turns * b[2], a[3] - turns * b[2], bits)
    size = max(abs(b[2]), abs(b[3]), 1) - 1
    return _with_sign(max(min(a[2], 0), -size), min(max(a[3], 0), size), bits)


def _least_size(b: Bounds) -> int:
    """The least that the number may be without its sign."""
    return b[2] if b[2] > 0 else -b[3] if b[3] < 0 else 0


def both(a: Bounds, b: Bounds, bits: int) -> Bounds:
    """``a & b``."""
    return _no_sign(0, min(a[1], b[1]), bits)


def either(a: Bounds, b: Bounds, bits: int) -> Bounds:
    """``a | b``."""
    return _no_sign(max(a[0], b[0]), (1 << (a[1] | b[1]).bit_length()) - 1, bits)


def differ(a: Bounds, b: Bounds, bits: int) -> Bounds:
    """``a ^ b``."""
    return _no_sign(0, (1 << (a[1] | b[1]).bit_length()) - 1, bits)


def shl(a: Bounds, counts: _Pair, bits: int) -> Bounds:
    """``a << count`` for a count between two."""
    least, most = counts
    corners = _shifted(a[2:], counts)
    return (*_unsigned(a[0] << least, a[1] << most, bits), *_signed(min(corners), max(corners), bits))


def _shifted(ends: Iterable[int], counts: _Pair) -> list[int]:
    return [x << count for x in ends for count in counts]


def lshr(a: Bounds, counts: _Pair, bits: int) -> Bounds:
    """``a >> count`` with zeros from above."""
    return _no_sign(a[0] >> counts[1], a[1] >> counts[0], bits)


def ashr(a: Bounds, counts: _Pair, bits: int) -> Bounds:
    """``a >> count`` with copies of the sign from above."""
    ends = [x >> count for x in a[2:] for count in counts]
    return _with_sign(min(ends), max(ends), bits)
