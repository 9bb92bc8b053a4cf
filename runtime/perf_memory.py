"""The consumer's side of perf buffers, one for each CPU, in memory shared with the kernel.

A buffer is a page with positions and a power of two of pages with records, which wrap at its end. The kernel never
overwrites what was not taken: it drops what does not fit and says later, in a record of its own, how much that was.

Source: include/uapi/linux/perf_event.h (struct perf_event_mmap_page), kernel/events/ring_buffer.c.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import struct
import sys
from _thread import allocate_lock  # threading is imported by few scripts, and takes a millisecond

from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass
from pyebpf.runtime.backing import Backing, BufferUse
from pyebpf.runtime.cpus import online_cpus
from pyebpf.runtime.errors import BpfError, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.memory import PAGE, Access, SharedMemory, load_store_fence
from pyebpf.runtime.perf_open import open_output
from pyebpf.runtime.record_batches import Batch, Run, RunFinder, append_run
from pyebpf.runtime.waiting import Readable
from pyebpf.uapi.constants import MapUpdateFlag

if TYPE_CHECKING:
    from typing import Final


_HEAD: Final = 1024
_TAIL: Final = 1032
"""Offsets of data_head and data_tail in the first page."""

_RECORD_LOST: Final = 2
_RECORD_SAMPLE: Final = 9
_HEADER: Final = struct.Struct("=IHH")
"""struct perf_event_header: type, misc, size."""
SAMPLE_HEADER: Final = 12
"""Bytes before the data of a sample: the header and the length of what follows, padding included."""
_LARGEST: Final = 1 << 16
"""Records are shorter; a multiple of 8 bytes, as all of them."""


def samples(data: bytes, end: int) -> tuple[list[Run], int, int]:
    """The samples in ``data`` that begin before ``end``, records as the kernel wrote them of which the last one is whole,
    too; how many the kernel says were lost; and where what was looked at ends. Records of other kinds are passed over."""
    runs: list[Run] = []
    lost = at = 0
    words = memoryview(data).cast("Q")
    finder = RunFinder(words)
    while at < end:
        kind, _, size = _HEADER.unpack_from(data, at)
        if size < 8 or size % 8:
            raise BpfError(
                errno.EIO, Phase.PERF_BUFFER, detail=f"a record of {size} bytes at {at} is no record"
            )
        count = 1
        if kind == _RECORD_SAMPLE:
            count = finder.count(at, size, end)
            append_run(runs, at, size, size - SAMPLE_HEADER, count)
        elif kind == _RECORD_LOST:
            lost += words[(at + 16) >> 3]
        at += count * size
    return runs, lost, at


@dataclass(slots=True)
class _Buffer:
    """The buffer of one CPU. ``size``: of its records' area, in bytes."""

    cpu: int
    event: Fd
    memory: SharedMemory
    size: int

    def copy(self, tail: int, head: int) -> bytes:
        """What lies between two positions."""
        start, length = tail & (self.size - 1), head - tail
        first = min(length, self.size - start)
        part = self.memory.read(PAGE + start, first)
        return part if first == length else part + self.memory.read(PAGE, length - first)


class PerfMemory(Readable):
    """Perf buffers of ``pages`` pages for every CPU that runs, in the slots of the map behind ``backing``."""

    def __init__(self, backing: Backing, pages: int, wakeup: int) -> None:
        self._backing = backing
        self._pid = os.getpid()
        self._lost = 0
        self._turn = 0
        self._buffers: list[_Buffer] = []
        self._epoll: select.epoll | None = select.epoll()
        super().__init__()
        self.lock = allocate_lock()
        self.taken: list[Batch] = []
        try:
            elements = backing.elements(4)
            for cpu in online_cpus():
                if cpu < backing.facts.max_entries:
                    buffer = self._open(cpu, pages, wakeup)
                    if buffer is not None:
                        self._buffers.append(buffer)
                        self._epoll.register(buffer.event.fileno(), select.EPOLLIN)
                        number = buffer.event.fileno().to_bytes(4, sys.byteorder)
                        elements.update(cpu.to_bytes(4, sys.byteorder), number, MapUpdateFlag.ANY)
        except BaseException:
            self.close()
            raise

    def _open(self, cpu: int, pages: int, wakeup: int) -> _Buffer | None:
        subject = repr(self._backing.facts.name)
        event = open_output(cpu, wakeup, subject)
        if event is None:
            return None
        try:
            memory = SharedMemory(event, (1 + pages) * PAGE, Access.WRITE, subject=subject)
        except BpfError as error:
            event.close()
            detail = f"{pages} pages for CPU {cpu}"
            if error.errno == errno.EPERM:
                detail += ": more than kernel.perf_event_mlock_kb and the memlock limit allow"
            raise BpfError(error.errno or 0, Phase.PERF_BUFFER, subject, detail=detail) from None
        return _Buffer(cpu, event, memory, pages * PAGE)

    def grab(self, most: int) -> None:
        """Copy about ``most`` bytes of what one CPU's buffer holds behind ``taken`` and free the space; CPUs take turns."""
        if self._epoll is None:
            raise ValueError(f"the perf buffers of {self._backing.facts.name!r} are closed")
        before = self.taken
        for _ in range(len(self._buffers)):
            buffer = self._buffers[self._turn % len(self._buffers)]
            self._turn += 1
            while self._step(buffer, most):
                if self.taken is not before:
                    return

    def _step(self, buffer: _Buffer, most: int) -> bool:
        """Take what is there; whether that freed any space."""
        fence = load_store_fence()
        tail_word = buffer.memory.word(_TAIL, 8)
        head, tail = buffer.memory.word(_HEAD, 8).value, tail_word.value
        available = head - tail
        if not available:
            return False
        fence()
        data = buffer.copy(tail, tail + min(available, (most + _LARGEST) & ~7))
        runs, lost, end = samples(data, min(available, most))
        taken = [*self.taken, Batch(data, SAMPLE_HEADER, runs)] if runs else self.taken
        lost += self._lost
        tail += end
        fence()
        # Nothing may come between these three, see ``RecordSource.taken``.
        self.taken = taken
        tail_word.value = tail
        self._lost = lost
        return True

    @property
    def lost(self) -> int | None:
        """What the records about losses say, added up. The kernel writes one when there is room again."""
        return self._lost

    def use(self) -> BufferUse:
        """The sums over all CPUs."""
        if self._epoll is None:
            raise ValueError(f"the perf buffers of {self._backing.facts.name!r} are closed")
        produced = consumed = size = 0
        for buffer in self._buffers:
            consumed += buffer.memory.word(_TAIL, 8).value
            produced += buffer.memory.word(_HEAD, 8).value
            size += buffer.size
        return BufferUse(size, produced, consumed)

    def fileno(self) -> int:
        """A descriptor of epoll over the events of all CPUs."""
        if self._epoll is None:
            raise ValueError("the file descriptor is closed")
        return self._epoll.fileno()

    def close(self) -> None:
        """Take the events out of the map and give all memory back. A process that was forked off the one that opened
        them leaves the map alone."""
        self.bell.ring()
        self.taken = []
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
        with contextlib.ExitStack() as all_of_them:  # even if one cannot be closed
            for buffer in self._buffers:
                all_of_them.callback(buffer.event.close)
                all_of_them.callback(buffer.memory.close)
                if not self._backing.closed and os.getpid() == self._pid:
                    slot = buffer.cpu.to_bytes(4, sys.byteorder)
                    all_of_them.callback(self._backing.elements(4).delete, slot)
            self._buffers = []
