"""Addressing modes: constant distances move from pointer arithmetic into the offsets of loads and stores.

::

    %1 = const i64 14
    %2 = ptradd ptr<packet> %data, %1        %3 = load.1 i64 %data + 23
    %3 = load.1 i64 %2 + 9            →

Every memory instruction has a signed 16-bit offset, so this saves the addition. To the kernel's verifier a
constant distance makes no difference: pointers at constant distances from one packet pointer share what was
checked of it; and the context may only be accessed this way.

Requires: nothing. Invalidates: nothing; superfluous additions are left to ``dead_code``.
"""

from __future__ import annotations

from pyebpf.backend.passes.addresses import signed
from pyebpf.ir import ops
from pyebpf.ir.ops import Atomic, Const, Function, Load, MemCopy, MemZero, Store, Value
from pyebpf.ir.types import PtrTy

_LOWEST, _HIGHEST = -(1 << 15), (1 << 15) - 1


def run(function: Function) -> bool:
    """Fold what fits. Returns whether anything changed."""
    changed = False
    for op in function.ops():
        match op:
            case Load() | Store() | Atomic():
                pointer, offset = _folded(op.pointer, op.offset, op.width)
                changed |= pointer is not op.pointer
                op.pointer, op.offset = pointer, offset
            case MemZero():
                pointer, offset = _folded(op.pointer, op.offset, op.size)
                changed |= pointer is not op.pointer
                op.pointer, op.offset = pointer, offset
            case MemCopy():
                pointer, offset = _folded(op.target, op.target_offset, op.size)
                changed |= pointer is not op.target
                op.target, op.target_offset = pointer, offset
                pointer, offset = _folded(op.source, op.source_offset, op.size)
                changed |= pointer is not op.source
                op.source, op.source_offset = pointer, offset
            case _:
                pass
    return changed


def _folded(pointer: Value, offset: int, size: int) -> tuple[Value, int]:
    """The pointer furthest back from which constants lead here, and the offset from it."""
    while isinstance(pointer, ops.PtrAdd) and isinstance(pointer.offset, Const):
        moved = offset + signed(pointer.offset)
        base = pointer.base.type
        assert isinstance(base, PtrTy)
        inside = base.size is None or 0 <= moved <= base.size - size
        if not inside or moved < _LOWEST or moved + size - 1 > _HIGHEST:
            break
        pointer, offset = pointer.base, moved
    return pointer, offset
