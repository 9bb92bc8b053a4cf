"""The stack frame: where allocas and spill slots lie below r10, and how many bytes that takes.

``layout`` gives every slot that an instruction refers to its offset; slots that nothing refers to take no space.
``share`` tells which spilled values can live in one slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pyebpf.backend.machine import MachineFunction

STACK_BYTES: Final = 512
"""What the kernel allows a frame, and a chain of calls altogether (MAX_BPF_STACK in linux/filter.h)."""


def layout(function: MachineFunction) -> int:
    """Set the offset of every slot in use, counted from r10 downwards, and drop the others from the function.

    Slots with larger alignment come first, so that nothing is lost between them where sizes are multiples of
    alignments. Returns the bytes of the frame; the caller decides what to say if they are more than ``STACK_BYTES``.
    """
    used = {id(i.frame) for b in function.blocks for i in b.insns if i.frame is not None}
    function.slots[:] = [s for s in function.slots if id(s) in used]
    depth = 0
    for slot in sorted(function.slots, key=lambda s: (-s.align, -s.size)):
        depth = -(-(depth + slot.size) // slot.align) * slot.align
        slot.offset = -depth
    return -(-depth // 8) * 8


def share(occupancy: Mapping[int, int], affinities: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Slot numbers for spilled values so that values in one slot are never alive together.

    ``occupancy``: by value, the points at which it is alive, as bits. ``affinities``: pairs that would best have the
    same slot, because one is passed to the other.
    """
    wanted: dict[int, list[int]] = {}
    for a, b in affinities:
        wanted.setdefault(a, []).append(b)
        wanted.setdefault(b, []).append(a)
    slots: list[int] = []  # by slot number, the points at which it is taken
    chosen: dict[int, int] = {}
    order = sorted(occupancy, key=lambda v: (-len(wanted.get(v, ())), v))
    for value in order:
        points = occupancy[value]
        preferred = [chosen[w] for w in wanted.get(value, ()) if w in chosen]
        for slot in [*preferred, *range(len(slots))]:
            if not slots[slot] & points:
                break
        else:
            slot = len(slots)
            slots.append(0)
        slots[slot] |= points
        chosen[value] = slot
    return chosen
