"""The consumer's side of the kernel's ring buffer, in memory shared with it.

The kernel and this process share three areas: our position, the kernel's position, and the records, which
are mapped twice in a row so that none wraps. A record is copied before its space is given back, so nothing
that was committed is lost or overwritten here; what does not fit is refused on the program's side (its
reserve fails).

Source: Documentation/bpf/ringbuf.rst, kernel/bpf/ringbuf.c.
"""

from __future__ import annotations

import math
import select
import threading
import time
from typing import Final

from pyebpf.runtime.fd import Fd
from pyebpf.runtime.memory import PAGE, Access, SharedMemory, load_store_fence
from pyebpf.uapi.constants import BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ

_LENGTH_MASK: Final = ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT) & 0xFFFF_FFFF
_BUSY_PAUSE: Final = 50e-6
"""Seconds to wait while the oldest record is reserved but not yet submitted."""


class RingMemory:
    """Takes records out of the ring buffer behind ``handle``, of ``size`` bytes."""

    def __init__(self, handle: Fd, name: str, size: int) -> None:
        self._handle = handle
        self._name = name
        self._size = size
        self._lock = threading.Lock()
        self._ours: SharedMemory | None = None
        self._theirs: SharedMemory | None = None

    def take(self) -> bytes | None:
        """Copy the oldest committed record out and free its space; ``None`` if there is none."""
        fence = load_store_fence()
        with self._lock:
            self._handle.fileno()  # raises after ``close``, before memory that is gone is touched
            ours, theirs = self._areas()
            consumer, producer = ours.word(0, 8), theirs.word(0, 8)
            position = consumer.value
            while position < producer.value:
                fence()
                at = PAGE + (position & (self._size - 1))
                header = theirs.word(at, 4).value
                if header & BPF_RINGBUF_BUSY_BIT:
                    return None
                fence()
                length = header & _LENGTH_MASK
                discarded = header & BPF_RINGBUF_DISCARD_BIT
                record = None if discarded else theirs.read(at + BPF_RINGBUF_HDR_SZ, length)
                position += (length + BPF_RINGBUF_HDR_SZ + 7) & ~7
                fence()
                consumer.value = position
                if record is not None:
                    return record
            return None

    def wait(self, seconds: float | None) -> None:
        """Return when there may be a record, at the latest after so many seconds (``None``: never)."""
        poller = select.poll()
        poller.register(self._handle.fileno(), select.POLLIN)
        if poller.poll(None if seconds is None else math.ceil(seconds * 1000)) and self._waits_for_writer():
            # The kernel calls this readable, but the oldest record is still being written.
            time.sleep(_BUSY_PAUSE)

    def close(self) -> None:
        """Unmap the memory; the descriptor stays open."""
        with self._lock:
            for memory in (self._ours, self._theirs):
                if memory is not None:
                    memory.close()

    def _areas(self) -> tuple[SharedMemory, SharedMemory]:
        if self._ours is None or self._theirs is None:
            self._ours = SharedMemory(self._handle, PAGE, Access.WRITE, subject=repr(self._name))
            size = PAGE + 2 * self._size
            self._theirs = SharedMemory(
                self._handle, size, Access.READ, offset=PAGE, subject=repr(self._name)
            )
        return self._ours, self._theirs

    def _waits_for_writer(self) -> bool:
        with self._lock:
            ours, theirs = self._areas()
            position = ours.word(0, 8).value
            if position >= theirs.word(0, 8).value:
                return False
            header: int = theirs.word(PAGE + (position & (self._size - 1)), 4).value
            return bool(header & BPF_RINGBUF_BUSY_BIT)
