"""Zeroing and copying as loads and stores, as wide as the alignment allows.

::

    memzero %1 + 0, 12 align 4               %2 = const i64 0
                                             store.4 %1 + 0, %2
                                      →      store.4 %1 + 4, %2
                                             store.4 %1 + 8, %2

A slot of the stack knows its alignment better than the operation may, and the kernel's verifier insists on it
there; elsewhere narrower accesses than possible only cost time, and on machines that load unaligned words
(``unaligned``) every width is allowed outside the stack.

Requires: ``addressing`` before, so that offsets are final. Invalidates: no ``MemZero`` or ``MemCopy`` is
left.
"""

from __future__ import annotations

from pyebpf.backend.passes.addresses import chunks, known_alignment, may_be_unaligned, place_of
from pyebpf.ir.ops import Function, Load, MemCopy, MemZero, Op, Store, Value, const
from pyebpf.ir.types import I64


def run(function: Function, *, unaligned: bool = False) -> bool:
    """Expand all of them. Returns whether there were any."""
    changed = False
    for block in function.blocks:
        if not any(isinstance(op, MemZero | MemCopy) for op in block.ops):
            continue
        changed = True
        out: list[Op] = []
        for op in block.ops:
            match op:
                case MemZero():
                    out.extend(_zeroed(op, _aligned(op.pointer, op.offset, op.align, unaligned)))
                case MemCopy():
                    target = _aligned(op.target, op.target_offset, op.align, unaligned)
                    source = _aligned(op.source, op.source_offset, op.align, unaligned)
                    out.extend(_copied(op, min(target, source)))
                case _:
                    out.append(op)
        block.ops = out
    return changed


def _aligned(pointer: Value, offset: int, align: int, unaligned: bool) -> int:
    """The alignment that accesses at ``pointer + offset`` may count on."""
    if unaligned and may_be_unaligned(pointer):
        return 8
    return max(align, known_alignment(place_of(pointer, offset)))


def _zeroed(op: MemZero, align: int) -> list[Op]:
    zero = const(0, I64, op.span)
    stores = [
        Store(op.pointer, offset, width, zero, span=op.span)
        for offset, width in chunks(op.offset, op.size, align)
    ]
    return [zero, *stores]


def _copied(op: MemCopy, align: int) -> list[Op]:
    out: list[Op] = []
    for at, width in chunks(0, op.size, align):
        value = Load(op.source, op.source_offset + at, width, type=I64, span=op.span)
        out += [value, Store(op.target, op.target_offset + at, width, value, span=op.span)]
    return out
