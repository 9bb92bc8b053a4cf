"""The kernel functions of the machine, by name. Source: kernel/bpf/bpf_iter.c.

A number iterator is 8 bytes of the program's stack: the number that it is at, and the end.
"""

from __future__ import annotations

import errno
import struct

from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass
from pyebpf.runtime.vm.memory import PAGE_BITS, PAGE_MASK
from pyebpf.runtime.vm.run import HelperImplementation, Run

if TYPE_CHECKING:
    from typing import Final


_STATE: Final = struct.Struct("<ii")
_MOST_NUMBERS: Final = 8 * 1024 * 1024
_OVER: Final = _STATE.pack(0, 0)
_MOST_INT: Final = (1 << 31) - 1
_M64: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class KernelFunction:
    """What does a kernel function's work, and how many arguments it takes."""

    arguments: int
    run: HelperImplementation


def _int(value: int) -> int:
    return ((value & 0xFFFF_FFFF) ^ 1 << 31) - (1 << 31)


def iter_num_new(run: Run, it: int, start: int, end: int, r4: int, r5: int) -> int:
    """0, or -errno with an iterator that is over."""
    first, last = _int(start), _int(end)
    result = -errno.EINVAL if first > last else -errno.E2BIG if last - first > _MOST_NUMBERS else 0
    run.memory.write(it, _OVER if result else _STATE.pack(_int(first - 1), last))
    return result & _M64


def iter_num_next(run: Run, it: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """The address of the next number, or 0. Called in every round of a loop, so it does not ask for a view of the memory."""
    try:
        page, place = run.memory.pages[it >> PAGE_BITS], it & PAGE_MASK
        at, end = _STATE.unpack_from(page, place)
        number = at + 1 if at != _MOST_INT else -_MOST_INT - 1
        if number < end:
            _STATE.pack_into(page, place, number, end)
            return it
    except (KeyError, struct.error, TypeError):  # there is no such memory: the write below says so
        pass
    run.memory.write(it, _OVER)
    return 0


def iter_num_destroy(run: Run, it: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Makes the iterator over."""
    run.memory.write(it, _OVER)
    return 0


KFUNCS: Final = {
    "bpf_iter_num_new": KernelFunction(3, iter_num_new),
    "bpf_iter_num_next": KernelFunction(1, iter_num_next),
    "bpf_iter_num_destroy": KernelFunction(1, iter_num_destroy),
}
