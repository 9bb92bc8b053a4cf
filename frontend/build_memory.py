"""Reading, writing, zeroing, copying and comparing storage.

Whatever is wider than the place is known to be aligned is done in pieces: the verifier refuses misaligned
stack accesses always, and other misaligned ones on processors that cannot do them."""

from __future__ import annotations

from pyebpf.frontend.build_data import foreign
from pyebpf.frontend.build_state import Place, State
from pyebpf.ir.ops import BinOp, Block, Pred, Value
from pyebpf.layout import IntType

IMMEDIATE_LIMIT = 64
"""Constant bytes up to this many are written with immediate stores, longer ones copied from ``.rodata``."""


def load_bits(f: State, place: Place, width: int, *, signed: bool = False, name: str = "") -> Value:
    """``width`` (1, 2, 4, 8) bytes in the target's order, as an i64."""
    if place.align >= width:
        return f.b.load(place.pointer, place.offset, width, signed=signed, name=name)
    half = width // 2
    first = load_bits(f, place, half)
    second = load_bits(f, place.at(half), half)
    low, high = (first, second) if f.target.little_endian else (second, first)
    whole = f.b.binary(BinOp.OR, low, f.b.binary(BinOp.SHL, high, f.b.const(8 * half)), name)
    return f.b.sext(8 * width, whole) if signed and width < 8 else whole


def store_bits(f: State, place: Place, width: int, value: Value) -> None:
    """The low ``width`` bytes of an i64, in the target's order."""
    if place.align >= width:
        f.b.store(place.pointer, place.offset, width, value)
        return
    half = width // 2
    high = f.b.binary(BinOp.LSHR, value, f.b.const(8 * half))
    first, second = (value, high) if f.target.little_endian else (high, value)
    store_bits(f, place, half, first)
    store_bits(f, place.at(half), half, second)


def load_int(f: State, place: Place, layout: IntType, name: str = "") -> Value:
    """The integer that lies at ``place``, as an i64."""
    if not foreign(layout, f.target):
        return load_bits(f, place, layout.size, signed=layout.signed and layout.bits < 64, name=name)
    swapped = f.b.bswap(layout.bits, load_bits(f, place, layout.size))
    swapped.name = name
    return f.b.sext(layout.bits, swapped) if layout.signed and layout.bits < 64 else swapped


def store_int(f: State, place: Place, layout: IntType, value: Value) -> None:
    """The low bits of an i64 to ``place``, in the layout's order."""
    if foreign(layout, f.target):
        value = f.b.bswap(layout.bits, value)
    store_bits(f, place, layout.size, value)


def zero(f: State, place: Place, size: int) -> None:
    """Zero ``size`` bytes."""
    if size:
        f.b.memzero(place.pointer, place.offset, size, min(place.align, 8))


def copy(f: State, target: Place, source: Place, size: int) -> None:
    """Copy ``size`` bytes; the two do not overlap, or are the same."""
    if size:
        align = min(target.align, source.align, 8)
        f.b.memcopy(target.pointer, target.offset, source.pointer, source.offset, size, align)


def chunks(size: int, align: int) -> list[tuple[int, int]]:
    """``size`` bytes as (offset, width) pieces of at most ``align`` bytes."""
    found = []
    offset = 0
    for width in (8, 4, 2, 1):
        while width <= align and size - offset >= width:
            found.append((offset, width))
            offset += width
    return found


def chunk_constant(f: State, data: bytes, offset: int, width: int) -> int:
    """``width`` bytes of ``data`` as the integer that a load of the target gives."""
    return int.from_bytes(data[offset : offset + width], "little" if f.target.little_endian else "big")


def store_constant(f: State, place: Place, data: bytes, *, zeroed: bool = False) -> None:
    """Write constant bytes with immediate stores; ``zeroed``: the place holds zeros already."""
    for offset, width in chunks(len(data), min(place.align, 8)):
        value = chunk_constant(f, data, offset, width)
        if value or not zeroed:
            store_bits(f, place.at(offset), width, f.b.const(value))


def branch_equal(
    f: State, left: Place | bytes, right: Place | bytes, length: int, same: Block, different: Block
) -> None:
    """Go to ``same`` if the first ``length`` bytes are equal, else to ``different``."""
    sides = (left, right)
    align = min([8, *(side.align for side in sides if isinstance(side, Place))])
    for offset, width in chunks(length, align):
        loaded: list[Value] = []
        for side in sides:
            if isinstance(side, Place):
                loaded.append(load_bits(f, side.at(offset), width))
            else:
                loaded.append(f.b.const(chunk_constant(f, side, offset, width)))
        rest = f.b.new_block("equal")
        f.b.branch(f.b.cmp(Pred.NE, loaded[0], loaded[1]), different, rest)
        f.go(rest)
    f.b.jump(same)
