"""The stack frame: where allocas and spill slots lie below r10, and how many bytes that takes.

``layout`` gives every slot that an instruction refers to its offset; slots that nothing refers to take no space.
``share`` tells which spilled values can live in one slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyebpf.backend.machine import MachineFunction
from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


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


def share(occupancy: Mapping[int, int], affinities: Sequence[tuple[int, int, int]]) -> dict[int, int]:
    """Slot numbers for spilled values so that values in one slot are never alive together.

    ``occupancy``: by value, the points at which it is alive, as bits. ``affinities``: (weight, value, value) for pairs
    that would best have the same slot, because one is passed to the other. Heavy pairs are joined first; then each
    group of values gets the first slot that is free.
    """
    group = {value: value for value in occupancy}
    points = dict(occupancy)
    for _, left, right in sorted(affinities, key=lambda a: -a[0]):
        a, b = group[left], group[right]
        if a != b and not points[a] & points[b]:
            points[a] |= points.pop(b)
            group = {value: a if g == b else g for value, g in group.items()}
    slots: list[int] = []  # by slot number, the points at which it is taken
    chosen: dict[int, int] = {}
    for root in sorted(points):
        slot = next((i for i, taken in enumerate(slots) if not taken & points[root]), len(slots))
        if slot == len(slots):
            slots.append(0)
        slots[slot] |= points[root]
        chosen[root] = slot
    return {value: chosen[g] for value, g in group.items()}
