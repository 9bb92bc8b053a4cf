"""Where pointers point, as far as it can be read off the operations: shared by the passes that reason about
memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pyebpf.ir import ops
from pyebpf.ir.ops import Alloca, Const, Function, Value
from pyebpf.ir.types import PtrTy, Space
from pyebpf.records import dataclass


def signed(constant: Const) -> int:
    """The value of an i64 constant as a signed number."""
    return constant.value - (1 << 64) if constant.value >> 63 else constant.value


@dataclass(frozen=True, slots=True)
class Place:
    """An address: ``offset`` bytes from ``root``, or somewhere in its object where ``offset`` is None."""

    root: Value
    offset: int | None


def place_of(pointer: Value, offset: int = 0) -> Place:
    """Follow ``PtrAdd`` and ``NonNull`` back to the pointer that they start from."""
    known: int | None = offset
    while True:
        match pointer:
            case ops.PtrAdd():
                if known is not None and isinstance(pointer.offset, Const):
                    known += signed(pointer.offset)
                else:
                    known = None
                pointer = pointer.base
            case ops.NonNull():
                pointer = pointer.pointer
            case _:
                return Place(pointer, known)


def chunks(offset: int, size: int, align: int) -> Iterator[tuple[int, int]]:
    """Cut ``size`` bytes at ``offset`` into the fewest (offset, width) accesses of 8, 4, 2 or 1 bytes. The
    address of ``offset`` is a multiple of ``align``, and no access is wider than its alignment."""
    at = 0
    while at < size:
        width = min(8, align)
        while at % width or width > size - at:
            width //= 2
        yield offset + at, width
        at += width


def alignment(offset: int, align: int) -> int:
    """What is known of the alignment of ``offset`` in an object that is aligned to ``align``."""
    return min(align, offset & -offset) if offset else align


def known_alignment(place: Place) -> int:
    """What an address is a multiple of: slots know it, map values and ring-buffer records start at multiples
    of 8."""
    if place.offset is None:
        return 1
    match place.root:
        case Alloca(align=align):
            return alignment(place.offset, align)
        case ops.CallHelper(type=PtrTy(space=Space.MAP_VALUE | Space.RINGBUF)):
            return alignment(place.offset, 8)
        case _:
            return 1


def may_be_unaligned(pointer: Value) -> bool:
    """Whether accesses through ``pointer`` are outside the stack for certain, where the kernel's verifier
    does not care about alignment if the processor does not."""
    return isinstance(pointer.type, PtrTy) and pointer.type.space not in (Space.STACK, Space.MEM, Space.CTX)


def escaping(function: Function, uses: Mapping[Value, list[Value]]) -> set[Value]:
    """The slots whose address something else than a load or store of this function may hold: it was passed,
    stored, joined or compared."""
    found: set[Value] = set()
    for alloca in function.entry.ops:
        if not isinstance(alloca, Alloca):
            continue
        work: list[Value] = [alloca]
        while work:
            pointer = work.pop()
            for user in uses[pointer]:
                match user:
                    case ops.PtrAdd():
                        work.append(user)
                    case ops.Load() | ops.MemZero() | ops.MemCopy() | ops.Atomic():
                        pass
                    case ops.Store() if user.value is not pointer:
                        pass
                    case _:
                        found.add(alloca)
                        work.clear()
                        break
    return found
