"""Kernel functions of the machine."""

from __future__ import annotations

import errno

import pytest

from pyebpf.runtime.vm.errors import OutOfBounds
from pyebpf.runtime.vm.kfuncs import KFUNCS
from tests.unit.vm_world.worlds import World

M64 = (1 << 64) - 1


def numbers(world: World, start: int, end: int) -> tuple[int, list[int]]:
    it = world.bytes(bytes(8)).address
    result = KFUNCS["bpf_iter_num_new"].run(world.run, it, start & M64, end & M64, 0, 0)
    found: list[int] = []
    while at := KFUNCS["bpf_iter_num_next"].run(world.run, it, 0, 0, 0, 0):
        found.append(int.from_bytes(world.run.memory.read(at, 4), "little", signed=True))
        assert len(found) < 100
    assert KFUNCS["bpf_iter_num_next"].run(world.run, it, 0, 0, 0, 0) == 0
    return result, found


@pytest.mark.parametrize(
    ("start", "end"), [(0, 0), (0, 1), (0, 5), (-3, 2), (2**31 - 3, 2**31 - 1), (-(2**31), -(2**31) + 2)]
)
def test_an_iterator_gives_its_numbers_and_ends(start: int, end: int) -> None:
    assert numbers(World(), start, end) == (0, list(range(start, end)))


@pytest.mark.parametrize(
    ("start", "end", "number"),
    [(1, 0, errno.EINVAL), (0, 8 * 1024 * 1024 + 1, errno.E2BIG), (-(2**31), 2**31 - 1, errno.E2BIG)],
)
def test_an_iterator_that_cannot_be_made_is_over(start: int, end: int, number: int) -> None:
    assert numbers(World(), start, end) == (-number & M64, [])


def test_an_iterator_that_was_destroyed_is_over() -> None:
    world = World()
    it = world.bytes(bytes(8)).address
    KFUNCS["bpf_iter_num_new"].run(world.run, it, 0, 5, 0, 0)
    KFUNCS["bpf_iter_num_destroy"].run(world.run, it, 0, 0, 0, 0)
    assert KFUNCS["bpf_iter_num_next"].run(world.run, it, 0, 0, 0, 0) == 0


def test_an_iterator_lies_in_memory() -> None:
    with pytest.raises(OutOfBounds):
        KFUNCS["bpf_iter_num_new"].run(World().run, 0xFFFF, 0, 5, 0, 0)
