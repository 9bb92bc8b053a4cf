"""Memory shared with the kernel: mmap(2) of a map's descriptor, with single aligned loads and stores.

Python's ``mmap`` keeps a duplicate of the descriptor and gives no address of read-only memory, so the C
library's functions are called directly.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import weakref
from collections.abc import Callable

from pyebpf import enums
from pyebpf.hints import TYPE_CHECKING, Any
from pyebpf.runtime.errors import BpfError, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.syscall import error

if TYPE_CHECKING:
    from typing import Final


PAGE: Final = mmap.PAGESIZE
_FAILED: Final = ctypes.c_void_p(-1).value


class Access(enums.IntEnum):
    """What user space may do with the memory."""

    READ = mmap.PROT_READ
    WRITE = mmap.PROT_READ | mmap.PROT_WRITE


@functools.cache
def _libc_mmap() -> tuple[Callable[..., int | None], Callable[..., int]]:
    libc = ctypes.CDLL(None, use_errno=True)
    # Offsets here are 0 or one page, so the width of off_t does not matter.
    map_, unmap = libc.mmap, libc.munmap
    map_.argtypes = (
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_long,
    )
    map_.restype = ctypes.c_void_p
    unmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return map_, unmap


class SharedMemory:
    """``length`` bytes of ``fd`` from byte ``offset`` on, unmapped by ``close`` or by the garbage collector.

    Raises ``BpfError`` where the kernel refuses; every access after ``close`` raises ``ValueError``.
    """

    __slots__ = ("__weakref__", "_address", "_finalizer", "length")

    def __init__(self, fd: Fd, length: int, access: Access, *, offset: int = 0, subject: str = "") -> None:
        map_, unmap = _libc_mmap()
        length = (length + PAGE - 1) // PAGE * PAGE
        address = map_(None, length, access, mmap.MAP_SHARED, fd.fileno(), offset)
        if address is None or address == _FAILED:
            raise error(ctypes.get_errno(), Phase.MAP_MMAP, subject)
        self.length = length
        self._address: int = address
        self._finalizer = weakref.finalize(self, unmap, address, length)

    @property
    def closed(self) -> bool:
        """Whether the memory is gone."""
        return not self._finalizer.alive

    def close(self) -> None:
        """Unmap; again is harmless. Nobody else may be reading meanwhile."""
        self._finalizer()

    def address(self, offset: int, size: int) -> int:
        """The address of ``size`` bytes at ``offset``; raises ``IndexError`` outside the memory."""
        if not self._finalizer.alive:
            raise ValueError("the memory is no longer mapped")
        if not 0 <= offset <= offset + size <= self.length:
            raise IndexError(f"{size} bytes at {offset} are outside {self.length} bytes of shared memory")
        return self._address + offset

    def read(self, offset: int, size: int) -> bytes:
        """A copy of ``size`` bytes at ``offset``."""
        return ctypes.string_at(self.address(offset, size), size)

    def write(self, offset: int, data: bytes) -> None:
        """Store ``data`` at ``offset``."""
        ctypes.memmove(self.address(offset, len(data)), data, len(data))

    def word(self, offset: int, size: int) -> Any:
        """The aligned integer of ``size`` bytes (1, 2, 4, 8) at ``offset``: reading and setting its
        ``value`` is one load and one store. It must not be used after ``close``."""
        return _WORDS[size].from_address(self.address(offset, size))


_WORDS: Final[dict[int, Any]] = {
    1: ctypes.c_uint8,
    2: ctypes.c_uint16,
    4: ctypes.c_uint32,
    8: ctypes.c_uint64,
}

_TOTAL_STORE_ORDER: Final = frozenset({"x86_64", "i386", "i686", "s390x"})
_MEMBARRIER: Final = {
    "aarch64": 283,
    "riscv64": 283,
    "loongarch64": 283,
    "armv7l": 389,
    "ppc64": 365,
    "ppc64le": 365,
    "mips64": 5318,
}
_PRIVATE_EXPEDITED: Final = 1 << 3
_REGISTER_PRIVATE_EXPEDITED: Final = 1 << 4


def _nothing() -> None:
    """The barrier of machines that keep loads, and stores, in order."""


@functools.cache
def load_store_fence() -> Callable[[], None]:
    """A function that orders all loads and stores before its call with those after it, as acquire and
    release do.

    Machines with total store order need none, since the interpreter cannot reorder; elsewhere membarrier(2)
    makes the barrier, because Python has no atomic operations.
    """
    machine = os.uname().machine
    if machine in _TOTAL_STORE_ORDER:
        return _nothing
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_uint, ctypes.c_int)
    syscall.restype = ctypes.c_long
    number = _MEMBARRIER.get(machine)
    if number is None or syscall(number, _REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0:
        code = ctypes.get_errno() or os.EX_OSERR
        raise BpfError(code, Phase.MAP_MMAP, detail=f"no memory barrier is available on {machine}")

    def fence() -> None:
        syscall(number, _PRIVATE_EXPEDITED, 0, 0)

    return fence
