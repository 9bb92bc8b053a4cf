"""Known bits: what is known of each bit of a number, and what of the bits of results.

A pair of masks: the bits that are one, and the bits that may be either; the others are zero. This is how the kernel's
verifier keeps them too (kernel/bpf/tnum.c calls it a tristate number). ``full`` is the mask of the width.
"""

from __future__ import annotations

Bits = tuple[int, int]


def between(low: int, high: int) -> Bits:
    """The bits of the numbers from ``low`` to ``high``: those before the first in which the two differ."""
    unknown = (1 << (low ^ high).bit_length()) - 1
    return low & ~unknown, unknown


def join(a: Bits, b: Bits) -> Bits:
    """What is known if it is one or the other."""
    unknown = a[1] | b[1] | (a[0] ^ b[0])
    return a[0] & ~unknown, unknown


def meet(a: Bits, b: Bits) -> Bits | None:
    """What is known if both are right; None if they contradict each other."""
    if (a[0] ^ b[0]) & ~(a[1] | b[1]):
        return None
    ones = a[0] | b[0]
    return ones, a[1] & b[1] & ~ones


def widen(old: Bits, new: Bits, full: int) -> Bits:
    """``old`` or ``new``, where ``new`` came of ``old`` in a loop: the lowest bit that changes carries into all above
    it sooner or later."""
    ones, unknown = join(old, new)
    changed = unknown & ~old[1]
    if not changed:
        return old
    unknown |= full & -(changed & -changed)
    return ones & ~unknown, unknown


def add(a: Bits, b: Bits, full: int) -> Bits:
    """A bit of the sum is known if it is in both and the carry into it is the same at the least and at the most."""
    least = a[0] + b[0]
    most = least + a[1] + b[1]
    unknown = (least ^ most | a[1] | b[1]) & full
    return least & ~unknown & full, unknown


def sub(a: Bits, b: Bits, full: int) -> Bits:
    """As ``add``, with borrows."""
    difference = a[0] - b[0]
    unknown = ((difference + a[1]) ^ (difference - b[1]) | a[1] | b[1]) & full
    return difference & ~unknown & full, unknown


def mul(a: Bits, b: Bits, full: int) -> Bits:
    """The low bits of a product follow from the low bits of the factors, and from the zeros that they end with."""
    sure = min(_sure(a, full) + _zeros(b, full), _sure(b, full) + _zeros(a, full))
    unknown = full & ~((1 << sure) - 1)
    return a[0] * b[0] & full & ~unknown, unknown


def _sure(a: Bits, full: int) -> int:
    """How many bits at the end are known."""
    return (a[1] & -a[1]).bit_length() - 1 if a[1] else full.bit_length()


def _zeros(a: Bits, full: int) -> int:
    """How many zeros are at the end for sure."""
    possible = a[0] | a[1]
    return (possible & -possible).bit_length() - 1 if possible else full.bit_length()


def both(a: Bits, b: Bits) -> Bits:
    """``a & b``."""
    ones = a[0] & b[0]
    return ones, (a[0] | a[1]) & (b[0] | b[1]) & ~ones


def either(a: Bits, b: Bits) -> Bits:
    """``a | b``."""
    ones = a[0] | b[0]
    return ones, (a[1] | b[1]) & ~ones


def differ(a: Bits, b: Bits) -> Bits:
    """``a ^ b``."""
    unknown = a[1] | b[1]
    return (a[0] ^ b[0]) & ~unknown, unknown


def shl(a: Bits, count: int, full: int) -> Bits:
    """``a << count``."""
    return a[0] << count & full, a[1] << count & full


def lshr(a: Bits, count: int) -> Bits:
    """``a >> count`` with zeros from above."""
    return a[0] >> count, a[1] >> count


def ashr(a: Bits, count: int, full: int) -> Bits:
    """``a >> count`` with copies of the sign, known or not, from above."""
    sign = (full >> 1) + 1
    ones, unknown = ((x ^ sign) - sign for x in a)
    return ones >> count & full, unknown >> count & full
