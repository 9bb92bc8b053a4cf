"""``m[i] = x`` with integers in arrays: what is stored, what an index outside is, and that no call is made for it."""

from __future__ import annotations

import errno
import os

import pytest

import pyebpf as bpf
from pyebpf import be16, i8, u8, u32, u64

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")

bpf.license("GPL")

wide = bpf.ArrayMap[u32, u64](max_entries=4)
swapped = bpf.ArrayMap[u32, be16](max_entries=4)
signed = bpf.ArrayMap[u32, i8](max_entries=4)
own = bpf.PerCpuArray[u32, u64](max_entries=4)


@bpf.xdp(on_error=77)
def fill(ctx: bpf.Xdp) -> int:
    """Store under the packet's first byte; the index outside is an error with its number."""
    index = ctx.read(u8, 0)
    try:
        wide[index] = len(ctx) << 40
        swapped[index] = 0x1234
        signed[index] = -len(ctx)
        own[index] = wide[index] + 1
    except OSError as error:
        return error.errno or 99
    return 0


@bpf.xdp(on_error=77)
def unhandled(ctx: bpf.Xdp) -> int:
    """Nobody handles the error."""
    wide[ctx.read(u8, 0)] = 1
    return 0


def test_elements_are_stored() -> None:
    """Every element, in its width and byte order, and nothing beside it."""
    for index in range(4):
        assert fill.run(bytes([index]) + bytes(59 + index)).verdict == 0
    lengths = range(60, 64)
    assert list(wide.values()) == [length << 40 for length in lengths]
    assert list(swapped.values()) == [0x1234] * 4
    assert list(signed.values()) == [-length for length in lengths]
    assert [own.total(index) for index in range(4)] == [(length << 40) + 1 for length in lengths]


@pytest.mark.parametrize("index", [4, 255])
def test_an_index_outside(index: int) -> None:
    """The number that the kernel's update gives."""
    assert fill.run(bytes([index]) + bytes(59)).verdict == errno.E2BIG
    assert unhandled.run(bytes([index]) + bytes(59)).verdict == 77


def test_no_update_is_called() -> None:
    """The helper for updates, number 2, is not in the program."""
    assert "call 2 " not in f"{unhandled.disassemble()} ".replace("\n", " ")
    assert "call 1 " in unhandled.disassemble().replace("\n", " ")
