"""The consumer's side of the machine's ring and perf buffers: ``runtime.backing.RecordSource``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.backing import MIXED, BufferUse, RecordSource
from pyebpf.runtime.errors import NotInKernel
from pyebpf.runtime.record_batches import Batch, Run, append_run
from pyebpf.runtime.vm.maps_perf import PerfMap
from pyebpf.runtime.vm.maps_ring import RingMap

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


class MachineRecords:
    """Takes records out of a buffer of the machine, which programs of other threads may fill meanwhile."""

    def __init__(self, map_: RingMap | PerfMap) -> None:
        self.map = map_
        self.taken: list[Batch] = []
        self.lock = map_.consuming
        self._closed = False
        self._wakers: set[Callable[[], object]] = set()

    def grab(self, most: int) -> None:
        """Take finished records, of about ``most`` bytes at most."""
        if self._closed:
            raise ValueError(f"the buffer {self.map.spec.name!r} is closed")
        map_ = self.map
        pieces: list[bytes] = []
        runs: list[Run] = []
        at = 0
        records, position = map_.finished(most)
        for record in records:
            pieces.append(record or b"\0")  # records without bytes lie apart, too
            append_run(runs, at, len(pieces[-1]), len(record), 1)
            at += len(pieces[-1])
        taken = [*self.taken, Batch(b"".join(pieces), 0, runs)] if runs else self.taken
        # Nothing may come between these two, see ``RecordSource.taken``.
        self.taken = taken
        map_.consumed = position

    @property
    def lost(self) -> int | None:
        """As the kernel would report it."""
        return self.map.lost

    def use(self) -> BufferUse:
        """The positions, as the kernel would count them."""
        return BufferUse(self.map.size, self.map.produced, self.map.consumed)

    def fileno(self) -> int:
        """Raises ``NotInKernel``."""
        raise NotInKernel(
            f"the map {self.map.spec.name!r} lives in the built-in machine, not in the kernel: it has no descriptor"
        )

    def wait(self, seconds: float | None, others: Sequence[RecordSource] = ()) -> bool:
        """Wait for a program in another thread, at most so many seconds. Raises ``TypeError`` for the kernel's buffers."""
        sources: list[MachineRecords] = [self]
        for other in others:
            if not isinstance(other, MachineRecords):
                raise TypeError(MIXED)
            sources.append(other)
        event = threading.Event()
        for source in sources:
            source.map.listeners.add(event.set)
            source._wakers.add(event.set)
        try:
            if any(source._closed for source in sources):
                return False
            if any(source.map.ready for source in sources):
                return True
            return event.wait(seconds)
        finally:
            for source in sources:
                source.map.listeners.discard(event.set)
                source._wakers.discard(event.set)

    def listen(self, loop: AbstractEventLoop, wake: Callable[[], None]) -> Callable[[], None]:
        """Have ``wake`` called in ``loop`` when there may be a record."""

        def tell() -> None:
            loop.call_soon_threadsafe(wake)

        self.map.listeners.add(tell)
        if self.map.ready:
            tell()
        return lambda: self.map.listeners.discard(tell)

    def close(self) -> None:
        """Let those return that wait. A ring buffer keeps its records."""
        self._closed = True
        if isinstance(self.map, PerfMap):
            self.map.shut()
        self.taken = []
        for waker in list(self._wakers):
            waker()
