"""Dead code: operations whose result nobody needs, and stores to private stack slots that nobody reads.

::

    %key = alloca 8 align 8 "key"            %key = alloca 8 align 8 "key"
    memzero %key + 0, 8 align 8       →      memzero %key + 4, 4 align 4
    store.4 %key + 0, %x                     store.4 %key + 0, %x
    %1 = helper ktime_get_ns(): i64

Liveness is computed forwards from what must stay, so that cycles of phis that only feed each other go too.
Helpers stay, whatever becomes of their results, but for a short list of those that only look at something. A
write to a slot goes where every byte of it is overwritten, later in the block, before anything can read the
slot; a ``memzero`` shrinks to the bytes that are still needed where that takes fewer stores.

Requires: nothing. Invalidates: nothing that is left.
"""

from __future__ import annotations

from typing import Final

from pyebpf.backend.passes.addresses import alignment, chunks, escaping, place_of
from pyebpf.ir import ops
from pyebpf.ir.cfg import uses
from pyebpf.ir.edit import remove_ops
from pyebpf.ir.ops import Alloca, Block, Effects, Function, MemCopy, MemZero, Op, Store, Value
from pyebpf.ir.types import PtrTy, Space
from pyebpf.uapi.helpers import helper_by_name

_LOOKS_ONLY: Final = (
    "get_current_cgroup_id",
    "get_current_pid_tgid",
    "get_current_task",
    "get_current_uid_gid",
    "get_numa_node_id",
    "get_prandom_u32",
    "get_smp_processor_id",
    "jiffies64",
    "ktime_get_boot_ns",
    "ktime_get_coarse_ns",
    "ktime_get_ns",
    "ktime_get_tai_ns",
)
LOOKS_ONLY: Final = frozenset(row.id for row in map(helper_by_name, _LOOKS_ONLY) if row is not None)
"""Helpers whose call may be dropped when the result is unused."""


def run(function: Function) -> bool:
    """Remove what is dead. Returns whether there was anything."""
    changed = _overwritten(function)
    return _unused(function) or changed


def _must_stay(op: Op) -> bool:
    """Whether ``op`` does something besides giving its result."""
    if isinstance(op, ops.CallHelper):
        return op.helper not in LOOKS_ONLY
    return bool(op.EFFECTS & (Effects.WRITES | Effects.TERMINATES))


def _written_slot(op: Op) -> Alloca | None:
    """The slot that a plain write goes to, if it is one."""
    match op:
        case Store() | MemZero():
            root = place_of(op.pointer).root
        case MemCopy():
            root = place_of(op.target).root
        case _:
            return None
    return root if isinstance(root, Alloca) else None


def _unused(function: Function) -> bool:
    live: set[Value] = set()
    work: list[Value] = []
    # A write to a slot keeps nothing alive by itself: it waits until something else needs the slot.
    waiting: dict[Value, list[Value]] = {}
    for op in function.ops():
        if not _must_stay(op):
            continue
        slot = _written_slot(op)
        if slot is None:
            live.add(op)
            work.append(op)
        else:
            waiting.setdefault(slot, []).append(op)
    while work:
        value = work.pop()
        for needed in (*value.operands(), *waiting.pop(value, ())):
            if needed not in live:
                live.add(needed)
                work.append(needed)
    dead = {op for op in function.ops() if op not in live}
    remove_ops(function, dead)
    return bool(dead)


# ---------------------------------------------------------------- writes that are overwritten


def _overwritten(function: Function) -> bool:
    slots = [op for op in function.entry.ops if isinstance(op, Alloca)]
    if not slots:
        return False
    shown = escaping(function, uses(function))
    changes = [_overwritten_in(block, slots, shown) for block in function.blocks]
    return any(changes)


def _overwritten_in(block: Block, slots: list[Alloca], shown: set[Value]) -> bool:
    """Walk the block backwards with the bytes of each slot that are written before anything can look at
    them."""
    covered: dict[Value, set[int]] = {}
    if isinstance(block.terminator, ops.Return | ops.Unreachable):
        covered = {slot: set(range(slot.size)) for slot in slots}  # the frame is gone
    out: list[Op] = []
    changed = False
    for op in reversed(block.ops):
        kept = [op]
        match op:
            case Store() | MemZero() | MemCopy():
                pointer, offset = (
                    (op.target, op.target_offset) if isinstance(op, MemCopy) else (op.pointer, op.offset)
                )
                place = place_of(pointer, offset)
                size = op.width if isinstance(op, Store) else op.size
                if isinstance(place.root, Alloca) and place.offset is not None:
                    later = covered.setdefault(place.root, set())
                    needed = [b for b in range(place.offset, place.offset + size) if b not in later]
                    later.update(needed)
                    if not needed:
                        kept = []
                    elif isinstance(op, MemZero) and len(needed) < size:
                        kept = _shrunk(op, place.root, needed, place.offset)
                if kept and isinstance(op, MemCopy):
                    _read(covered, op.source, shown)
            case ops.Load() | ops.Atomic():
                _read(covered, op.pointer, shown)
            case ops.CallHelper() | ops.CallKfunc() | ops.Call():
                for slot in shown:
                    covered.pop(slot, None)
            case _:
                pass
        changed = changed or kept != [op]
        out.extend(reversed(kept))
    if changed:
        block.ops = out[::-1]
    return changed


def _read(covered: dict[Value, set[int]], pointer: Value, shown: set[Value]) -> None:
    """Something is read through ``pointer``: what it may point to is needed as it is before."""
    root = place_of(pointer).root
    if isinstance(root, Alloca):
        covered.pop(root, None)
    elif isinstance(root.type, PtrTy) and root.type.space in (Space.STACK, Space.MEM):
        for slot in shown:
            covered.pop(slot, None)


def _shrunk(op: MemZero, slot: Alloca, needed: list[int], start: int) -> list[Op]:
    """Zeroings of the runs of ``needed`` bytes (offsets in the slot), or ``op`` as it is if that is not
    dearer."""
    runs: list[tuple[int, int]] = []
    for byte in needed:
        if runs and sum(runs[-1]) == byte:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((byte, 1))
    cost = sum(len(list(chunks(at, size, alignment(at, slot.align)))) for at, size in runs)
    if cost >= len(list(chunks(start, op.size, op.align))):
        return [op]
    delta = op.offset - start
    return [
        MemZero(op.pointer, at + delta, size, alignment(at, slot.align), span=op.span) for at, size in runs
    ]
