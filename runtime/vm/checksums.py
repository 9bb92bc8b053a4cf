"""One's complement sums as the kernel computes them: include/net/checksum.h, lib/checksum.c.

Numbers are in the machine's byte order, as the kernel reads the packet's 16-bit and 32-bit words.
"""

from __future__ import annotations

import sys

from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


_M16: Final = 0xFFFF
_M32: Final = 0xFFFF_FFFF


def add32(one: int, other: int) -> int:
    """csum_add: a 32-bit sum whose carry comes in again."""
    total = (one & _M32) + (other & _M32)
    return (total & _M32) + (total >> 32)


def sub32(one: int, other: int) -> int:
    """csum_sub."""
    return add32(one, ~other)


def add16(one: int, other: int) -> int:
    """csum16_add."""
    total = (one & _M16) + (other & _M16)
    return (total & _M16) + (total >> 16)


def narrow(total: int) -> int:
    """csum_from32to16: the halves added."""
    total = (total >> 16) + (total & _M16)
    return (total >> 16) + (total & _M16)


def fold(total: int) -> int:
    """csum_fold: the checksum of a sum."""
    return ~narrow(total) & _M16


def partial(data: bytes, seed: int) -> int:
    """csum_partial, of 32-bit words, the last one filled with zeros: 0 only if all is 0."""
    total = seed & _M32
    for at in range(0, len(data), 4):
        total += int.from_bytes(data[at : at + 4].ljust(4, b"\0"), sys.byteorder)
    while total >> 32:
        total = (total & _M32) + (total >> 32)
    return total


def replace2(checksum: int, old: int, new: int) -> int:
    """csum_replace2: the checksum after a 16-bit word changed."""
    return ~add16(add16(~checksum, ~old), new) & _M16


def replace4(checksum: int, old: int, new: int) -> int:
    """csum_replace4: the checksum after a 32-bit word changed."""
    return fold(add32(sub32(~checksum, old), new))


def replace_by_diff(checksum: int, difference: int) -> int:
    """csum_replace_by_diff."""
    return fold(add32(difference, ~checksum))
