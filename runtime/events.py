"""Events from programs: the consumer of a ring buffer.

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
from collections.abc import Callable, Iterator
from typing import Any, Final

from pyebpf.layout import Layout
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.info import MapFacts
from pyebpf.runtime.map_codec import Codec, RawCodec, codec_for
from pyebpf.runtime.maps import Map
from pyebpf.runtime.memory import PAGE, Access, SharedMemory, load_store_fence
from pyebpf.uapi.constants import BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ

_LENGTH_MASK: Final = ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT) & 0xFFFF_FFFF
_BUSY_PAUSE: Final = 50e-6
"""Seconds to wait while the oldest record is reserved but not yet submitted."""


class RingBuf(Map):
    """RINGBUF: ``for event in ring.poll(timeout)``, or ``ring.consume(callback)``; ``fileno`` works with
    epoll.

    An event is decoded by the layout of the map's value, or is bytes if there is none. Consumers in several
    threads share the events: each gets some.
    """

    def __init__(self, fd: Fd, facts: MapFacts, key: Codec, value: Codec) -> None:
        super().__init__(fd, facts, key, value)
        self._lock = threading.Lock()
        self._ours: SharedMemory | None = None
        self._theirs: SharedMemory | None = None

    def poll(self, timeout: float | None = None, layout: Layout | None = None) -> Iterator[Any]:
        """Give events as they come.

        ``timeout``: seconds; the iteration ends when that long no event came. 0 gives what is there,
        ``None`` never ends. ``layout``: of the events, if not the map's. Raises ``ValueError`` for a record
        shorter than that.
        """
        codec = self._value if layout is None else codec_for(layout, layout.size)
        poller = select.poll()
        poller.register(self.fileno(), select.POLLIN)
        deadline = _deadline(timeout)
        while True:
            record = self._take()
            if record is not None:
                yield self._decode(record, codec)
                deadline = _deadline(timeout)
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                return
            if poller.poll(None if left == math.inf else math.ceil(left * 1000)) and self._waits_for_writer():
                # The kernel calls this readable, but the oldest record is still being written.
                time.sleep(_BUSY_PAUSE)

    def consume(self, callback: Callable[[Any], object]) -> int:
        """Call ``callback`` with every event that is there; how many there were. Never waits.

        An exception of the callback goes through; its event has been taken, those after it have not.
        """
        count = 0
        while (record := self._take()) is not None:
            callback(self._decode(record, self._value))
            count += 1
        return count

    def close(self) -> None:
        """Unmap the memory and give the descriptor up. Waits for a consumer in another thread to finish its
        record."""
        with self._lock:
            for memory in (self._ours, self._theirs):
                if memory is not None:
                    memory.close()
            super().close()

    def _decode(self, record: bytes, codec: Codec) -> Any:
        if isinstance(codec, RawCodec):
            return record
        if len(record) < codec.size:
            raise ValueError(
                f"a record of {len(record)} bytes in {self.name!r}, where events have {codec.size}"
            )
        return codec.decode(record)

    def _areas(self) -> tuple[SharedMemory, SharedMemory]:
        if self._ours is None or self._theirs is None:
            self._ours = SharedMemory(self.handle, PAGE, Access.WRITE, subject=repr(self.name))
            size = PAGE + 2 * self.max_entries
            self._theirs = SharedMemory(self.handle, size, Access.READ, offset=PAGE, subject=repr(self.name))
        return self._ours, self._theirs

    def _take(self) -> bytes | None:
        """Copy the oldest committed record out and free its space; ``None`` if there is none."""
        fence = load_store_fence()
        with self._lock:
            ours, theirs = self._areas()
            consumer, producer = ours.word(0, 8), theirs.word(0, 8)
            position = consumer.value
            while position < producer.value:
                fence()
                at = PAGE + (position & (self.max_entries - 1))
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

    def _waits_for_writer(self) -> bool:
        with self._lock:
            ours, theirs = self._areas()
            position = ours.word(0, 8).value
            if position >= theirs.word(0, 8).value:
                return False
            header: int = theirs.word(PAGE + (position & (self.max_entries - 1)), 4).value
            return bool(header & BPF_RINGBUF_BUSY_BIT)


def _deadline(timeout: float | None) -> float:
    return math.inf if timeout is None else time.monotonic() + timeout
