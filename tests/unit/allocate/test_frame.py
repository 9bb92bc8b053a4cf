"""The stack frame: places, alignment, sharing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyebpf.backend import insn as encoding
from pyebpf.backend.frame import STACK_BYTES, layout, share
from pyebpf.backend.machine import FrameSlot, MachineBlock, MachineFunction, MachineInsn
from tests.unit.allocate.generator import source_function


def function_with(slots: list[FrameSlot], used: list[FrameSlot]) -> MachineFunction:
    """A function that has ``slots`` and stores to those in ``used``."""
    insns = [MachineInsn(encoding.st(8), frame=s, frame_is_dst=True) for s in used]
    return MachineFunction("f", (), [MachineBlock("entry", insns=insns)], source_function("f"), slots)


@given(st.lists(st.tuples(st.integers(1, 40), st.sampled_from([1, 2, 4, 8]), st.booleans())))
def test_layout(shapes: list[tuple[int, int, bool]]) -> None:
    """Slots in use are aligned, below r10, apart from each other and within the reported size."""
    slots = [FrameSlot(size, align) for size, align, _ in shapes]
    used = [s for s, (_, _, u) in zip(slots, shapes, strict=True) if u]
    function = function_with(list(slots), used)
    total = layout(function)
    assert function.slots == used
    assert total % 8 == 0
    taken: set[int] = set()
    for slot in used:
        assert slot.offset is not None
        assert slot.offset % slot.align == 0
        place = range(slot.offset, slot.offset + slot.size)
        assert -total <= place.start and place.stop <= 0
        assert taken.isdisjoint(place)
        taken.update(place)
    assert total <= sum(-(-s.size // s.align) * s.align for s in used) + 8


def test_nothing_takes_nothing() -> None:
    assert layout(function_with([FrameSlot(8, 8)], [])) == 0


def test_too_much_is_reported_not_refused() -> None:
    """The driver says it to the user; here it is a number."""
    slots = [FrameSlot(STACK_BYTES, 8), FrameSlot(8, 8)]
    assert layout(function_with(slots, slots)) == STACK_BYTES + 8


def test_small_slots_fill_the_end() -> None:
    """No padding where sizes are multiples of their alignment."""
    slots = [FrameSlot(4, 4), FrameSlot(8, 8), FrameSlot(2, 2), FrameSlot(16, 8), FrameSlot(2, 2)]
    assert layout(function_with(slots, slots)) == 32


@given(st.dictionaries(st.integers(0, 30), st.integers(1, 1 << 40), min_size=1), st.data())
def test_share(occupancy: dict[int, int], data: st.DataObject) -> None:
    """No two values that live together get one slot."""
    value = st.sampled_from(sorted(occupancy))
    slots = share(occupancy, data.draw(st.lists(st.tuples(st.integers(1, 9), value, value), max_size=9)))
    assert slots.keys() == occupancy.keys()
    for a in occupancy:
        for b in occupancy:
            if a != b and slots[a] == slots[b]:
                assert not occupancy[a] & occupancy[b]


def test_share_reuses() -> None:
    assert set(share({1: 0b0011, 2: 0b1100, 3: 0b0011}, []).values()) == {0, 1}


def test_share_follows_affinities() -> None:
    """A parameter lives where its argument lived."""
    slots = share({1: 0b0001, 2: 0b0001, 3: 0b0010}, [(8, 2, 3)])
    assert slots[2] == slots[3]
