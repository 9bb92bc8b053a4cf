"""The consumer's side of the kernel's ring buffer, in memory shared with it.

The kernel and this process share three areas: our position, the kernel's position, and the records, which
are mapped twice in a row so that none wraps. Records are copied before their space is given back, so nothing
that was committed is lost or overwritten here; what does not fit is refused on the program's side (its
reserve fails).

Headers are read from the shared memory before the copy is made: a header whose record was still being written at the
time of the copy must not be taken for one of a finished record afterwards.

Source: Documentation/bpf/ringbuf.rst, kernel/bpf/ringbuf.c.
"""

from __future__ import annotations

import ctypes
from _thread import allocate_lock  # threading is imported by few scripts, and takes a millisecond

from pyebpf.hints import TYPE_CHECKING, Any
from pyebpf.records import dataclass
from pyebpf.runtime.backing import BufferUse
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.memory import PAGE, Access, SharedMemory, load_store_fence
from pyebpf.runtime.record_batches import Batch, Run, RunFinder, append_run
from pyebpf.runtime.waiting import Readable
from pyebpf.uapi.constants import BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ

if TYPE_CHECKING:
    from typing import Final


_LENGTH_MASK: Final = ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT) & 0xFFFF_FFFF


def committed(words: memoryview, start: int, end: int) -> tuple[list[Run], int]:
    """The finished records that begin between the bytes ``start`` and ``end``, in ``words`` of 4 bytes, up to the first
    one that is still being written; and where what was looked at ends. Discarded records are passed over.

    Where many of one length follow each other, their headers are compared as one piece of memory: if all at the
    distance of the first one's length are the same, these are the headers.
    """
    runs: list[Run] = []
    at, finder = start, RunFinder(words)
    while at < end:
        header = words[at >> 2]
        if header & BPF_RINGBUF_BUSY_BIT:
            break
        length = header & _LENGTH_MASK
        stride = (length + BPF_RINGBUF_HDR_SZ + 7) & ~7
        if header & BPF_RINGBUF_DISCARD_BIT:
            at += stride
            continue
        count = finder.count(at, stride, end)
        append_run(runs, at - start, stride, length, count)
        at += count * stride
    return runs, at


@dataclass(frozen=True, slots=True)
class _Mapped:
    """Our page and the kernel's memory. ``words``: the records, of the latter."""

    ours: SharedMemory
    theirs: SharedMemory
    words: memoryview

    def consumer(self) -> Any:
        """Our position. Raises ``ValueError`` where the memory is gone, as the next one does."""
        return self.ours.word(0, 8)

    def producer(self) -> Any:
        """The kernel's position."""
        return self.theirs.word(0, 8)


class RingMemory(Readable):
    """Takes records out of the ring buffer behind ``handle``, of ``size`` bytes."""

    def __init__(self, handle: Fd, name: str, size: int) -> None:
        self._handle = handle
        self._name = name
        self._size = size
        self._mapped: _Mapped | None = None
        super().__init__()
        self.lock = allocate_lock()
        self.taken: list[Batch] = []

    def grab(self, most: int) -> None:
        """Copy committed records, of about ``most`` bytes at most, behind ``taken`` and free their space."""
        before = self.taken
        while self._step(most) and self.taken is before:
            pass  # all were discarded, perhaps more follow

    def _step(self, most: int) -> bool:
        """Take what is committed; whether that freed any space."""
        fence = load_store_fence()
        mapped = self._areas()
        consumer, producer = mapped.consumer(), mapped.producer()
        position = consumer.value
        available = producer.value - position
        if not available:
            return False
        fence()
        start = position & (self._size - 1)
        runs, end = committed(mapped.words, start, start + min(available, most))
        if end == start:
            return False
        fence()
        taken = self.taken
        if runs:
            taken = [*taken, Batch(mapped.theirs.read(PAGE + start, end - start), BPF_RINGBUF_HDR_SZ, runs)]
        fence()
        position += end - start
        # Nothing may come between these two, see ``RecordSource.taken``.
        self.taken = taken
        consumer.value = position
        return True

    @property
    def lost(self) -> int | None:
        """Not counted by the kernel: where there is no room, a program's reserve or output fails."""
        return None

    def use(self) -> BufferUse:
        """The positions, as the kernel counts them."""
        mapped = self._areas()
        consumed = mapped.consumer().value
        return BufferUse(self._size, mapped.producer().value, consumed)

    def fileno(self) -> int:
        """The map's descriptor."""
        return self._handle.fileno()

    def close(self) -> None:
        """Unmap the memory and let those return that wait; the descriptor stays open."""
        self.bell.ring()
        self.taken = []
        if self._mapped is not None:
            self._mapped.ours.close()
            self._mapped.theirs.close()

    def _areas(self) -> _Mapped:
        """The memory, mapped when it is first needed."""
        self._handle.fileno()  # raises after ``close``, before memory that is gone is touched
        if self._mapped is None:
            subject = repr(self._name)
            ours = SharedMemory(self._handle, PAGE, Access.WRITE, subject=subject)
            size = PAGE + 2 * self._size
            theirs = SharedMemory(self._handle, size, Access.READ, offset=PAGE, subject=subject)
            records = ctypes.c_uint8 * (2 * self._size)
            view = records.from_address(theirs.address(PAGE, 2 * self._size))
            self._mapped = _Mapped(ours, theirs, memoryview(view).cast("B").cast("I"))
        return self._mapped
