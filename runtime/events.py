"""Events from programs: the consumers of ring buffers and perf buffers, over ``backing.RecordSource``.

Records are copied out and decoded some thousands at a time, but handed out one by one from an iterator that all
consumers of a stream share. So nothing is lost when a loop over events ends early, a callback raises, or a task is
cancelled: what was not handed out is the next consumer's.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from pyebpf.collecting import paused
from pyebpf.layout import Layout
from pyebpf.records import dataclass
from pyebpf.runtime.backing import Backing, BufferUse, RecordSource
from pyebpf.runtime.errors import LostEvents
from pyebpf.runtime.map_codec import Codec, LayoutCodec
from pyebpf.runtime.maps import Map
from pyebpf.runtime.patience import Patience
from pyebpf.runtime.record_batches import Batch, EventCodec, Run, event_codec

if TYPE_CHECKING:
    import numpy as np

_CHUNK: Final = 1 << 18
"""Bytes that are copied out in one go: they stay in the processor's cache until they are decoded."""

_MOST: Final = 4096
"""How many objects are made in advance."""

_PAUSE_FROM: Final = 500
"""From so many records on, the garbage collector waits until all are objects."""


@dataclass(slots=True)
class _Decoded:
    """Events that were decoded by ``codec`` from ``runs`` of ``batch`` and wait to be handed out."""

    events: Iterator[Any]
    codec: EventCodec
    batch: Batch
    runs: list[Run]


class EventStream(Map):
    """What ring buffers and perf buffers have in common. ``fileno`` works with ``select``, ``poll`` and the like.

    An event is an object decoded by the layout of the map's value, which may be changed; bytes if there is no layout.
    Where the kernel says that events were lost, ``on_lost`` is called with how many since the last time; unless it is
    set, there is a ``LostEvents`` warning.

    ``layout`` arguments say what to take events for, if not the map's. A record that is shorter than its layout is an
    error when its turn comes: ``ValueError``; the record is gone then.

    Consumers in several threads and tasks share the events: each gets some. Of several processes with the same map
    only one may consume: the position is in memory that they share. Closing the stream drops what was not taken
    (``read_all`` before gives it); iterations end.
    """

    def __init__(self, backing: Backing, key: Codec, value: Codec) -> None:
        super().__init__(backing, key, value)
        self._codec = event_codec(value.layout if isinstance(value, LayoutCodec) else None)
        self._decoded: _Decoded | None = None
        self._sleepers: set[Callable[[], object]] = set()
        self._ended = False
        self._told = 0
        self.on_lost: Callable[[int], object] | None = None

    # ------------------------------------------------------------ consuming

    def poll(self, timeout: float | None = None, layout: Layout | None = None) -> Iterator[Any]:
        """Give events as they come.

        ``timeout``: seconds; the iteration ends when that long no event came. 0 gives what is there, ``None`` never
        ends.
        """
        return self._polled(self._begun(layout), timeout)

    def _polled(self, codec: EventCodec, timeout: float | None) -> Iterator[Any]:
        patience = Patience(timeout)
        while not self._ended:
            events = self.some(codec)
            if events is not None:
                yield from events
                patience.renew()
            elif not patience.wait(self._source.wait):
                return

    def __iter__(self) -> Iterator[Any]:
        """Events as they come, without an end."""
        return self.poll()

    def __aiter__(self) -> AsyncIterator[Any]:
        """Events as they come, without an end, for ``async for``."""
        return self.stream()

    def stream(self, layout: Layout | None = None) -> AsyncIterator[Any]:
        """Events as they come, without an end, for ``async for``: other tasks run while none comes, and every few
        thousand events. A task may be cancelled at any time without losing an event."""
        from pyebpf.runtime.events_async import AsyncEvents

        return AsyncEvents(self, self._source, self._begun(layout))

    def consume(self, callback: Callable[[Any], object], layout: Layout | None = None) -> int:
        """Call ``callback`` with every event that is there; how many there were. Never waits.

        An exception of the callback goes through; its event has been taken, those after it have not.
        """
        codec = self._begun(layout)
        count = 0
        while (events := self.some(codec)) is not None:
            for event in events:
                callback(event)
                count += 1
        return count

    def batch(
        self, timeout: float | None = None, layout: Layout | None = None, *, limit: int | None = None
    ) -> list[Any]:
        """All events that are there, at most ``limit``; where there are none, wait for the first one, ``timeout``
        seconds at most (``None``: for ever). Empty if none came."""
        codec = self._begun(layout)
        return self._when_there_is_one(timeout, lambda: self._list(codec, limit)) or []

    def read_all(self, layout: Layout | None = None) -> list[Any]:
        """All events that are there. Never waits."""
        return self._list(self._begun(layout), None)

    def numpy(self, layout: Layout | None = None, *, timeout: float | None = 0) -> np.ndarray[Any, Any]:
        """All events that are there as a numpy array of the layout's ``dtype``, without looking at each: fields are
        columns (``a["time"]``). The array may be read-only, and records lie further apart than they are long. Without
        a layout it has a row of bytes for each record. Waits as ``batch`` does. Needs the package numpy.
        """
        codec = self._begun(layout)
        batches = self._when_there_is_one(timeout, lambda: self._batches(codec.size))
        return codec.array(batches or [])

    # ------------------------------------------------------------ about the stream

    @property
    def lost(self) -> int | None:
        """How many events the kernel reported as lost until now; ``None`` for ring buffers, where it does not count
        them: a program's ``reserve`` gives ``None`` and its ``output`` an error number, and what it does then is the
        program's business."""
        with self._source.lock:
            return self._source.lost

    def use(self) -> BufferUse:
        """How full the buffer is now."""
        with self._source.lock:
            return self._source.use()

    @property
    def ended(self) -> bool:
        """Whether it has been closed."""
        return self._ended

    @contextlib.contextmanager
    def woken_by_close(self, wake: Callable[[], object]) -> Iterator[None]:
        """Inside the block ``close`` calls ``wake``; at once if it is closed already."""
        with self._source.lock:
            self._sleepers.add(wake)
            ended = self._ended
        if ended:
            wake()
        try:
            yield
        finally:
            self._sleepers.discard(wake)

    def fileno(self) -> int:
        """A descriptor that is readable while there are records."""
        return self._source.fileno()

    def close(self) -> None:
        """Give buffers and map up; what was not taken is dropped. Waits for a consumer in another thread to finish
        what it is copying, and ends iterations: those that wait now, others when they ask for the next event."""
        with self._source.lock:
            self._ended = True
            if self._decoded is not None:
                list(self._decoded.events)
                self._decoded = None
            self._source.close()
            sleepers = list(self._sleepers)
        for wake in sleepers:
            wake()
        super().close()

    # ------------------------------------------------------------ inside

    def waits_for(self, seconds: float | None, others: Sequence[EventStream] = ()) -> bool:
        """Wait until there may be an event here or on ``others``, at most so many seconds."""
        return self._source.wait(seconds, [other._source for other in others])

    @property
    def _source(self) -> RecordSource:
        """Where the records come from."""
        raise NotImplementedError

    def _begun(self, layout: Layout | None) -> EventCodec:
        """The codec for a consumer that begins. Raises ``ValueError`` after ``close``."""
        if self._ended:
            raise ValueError(f"the stream {self.name!r} is closed")
        return self._codec if layout is None else event_codec(layout)

    def some(self, codec: EventCodec | None = None) -> Iterator[Any] | None:
        """The iterator over the next events that all consumers share; ``None`` if there are none, as after ``close``.
        It may turn out to be empty, if another consumer was faster."""
        codec = codec or self._codec
        with self._source.lock:
            if self._ended:
                return None
            decoded = self._decoded
            if decoded is not None and decoded.codec is codec and decoded.events.__length_hint__():  # type: ignore[attr-defined]  # a list's iterator has it
                return decoded.events
            self._undecode()
            batch = self._grabbed(_CHUNK)
            found = None if batch is None else self._decode(batch, codec, _MOST)
        self._tell_lost()
        return found

    def _tell_lost(self) -> None:
        lost = self._source.lost
        if lost is not None and lost > self._told:
            more, self._told = lost - self._told, lost
            if self.on_lost is not None:
                self.on_lost(more)
            else:
                text = f"{more} events of {self.name!r} were lost: they came faster than they were taken"
                warnings.warn(text, LostEvents, stacklevel=3)

    def _grabbed(self, most: int) -> Batch | None:
        source = self._source
        if source.taken is None:
            source.grab(most)
        return source.taken

    def _decode(self, batch: Batch, codec: EventCodec, most: int) -> Iterator[Any]:
        """Decode up to ``most`` events of ``batch``, which is what the source has taken."""
        used, rest = self._cut(batch, codec.size, most)
        events: list[Any] = []
        with paused() if batch.count > _PAUSE_FROM else contextlib.nullcontext():
            for run in used:
                events += codec.objects(batch, run)
        made = _Decoded(iter(events), codec, batch, used)
        left = Batch(batch.data, batch.header, rest) if rest else None
        # Nothing may come between these two, see ``RecordSource.taken``.
        self._decoded = made
        self._source.taken = left
        return made.events

    def _cut(self, batch: Batch, size: int, most: int) -> tuple[list[Run], list[Run]]:
        """The first ``most`` records of ``batch``, but none shorter than ``size``, and the others. Where the first one
        is shorter: give it up and raise ``ValueError``."""
        used: list[Run] = []
        for index, run in enumerate(batch.runs):
            if run.length < size:
                if used:
                    return used, batch.runs[index:]
                rest = ([run.after(1)] if run.count > 1 else []) + batch.runs[index + 1 :]
                self._source.taken = Batch(batch.data, batch.header, rest) if rest else None
                raise ValueError(f"a record of {run.length} bytes in {self.name!r}, where events have {size}")
            if run.count > most:
                if most:
                    used.append(Run(run.start, run.stride, run.length, most))
                return used, [run.after(most), *batch.runs[index + 1 :]]
            used.append(run)
            most -= run.count
        return used, []

    def _undecode(self) -> None:
        """Give decoded events that nobody has taken back to the source."""
        decoded = self._decoded
        if decoded is None:
            return
        left = len(list(decoded.events))
        runs: list[Run] = []
        for run in reversed(decoded.runs):
            if not left:
                break
            count = min(left, run.count)
            runs.insert(0, run.after(run.count - count))
            left -= count
        taken = self._source.taken
        if runs:
            behind = taken.runs if taken is not None else []
            taken = Batch(decoded.batch.data, decoded.batch.header, runs + behind)
        self._source.taken = taken
        self._decoded = None

    def _list(self, codec: EventCodec, limit: int | None) -> list[Any]:
        most = sys.maxsize if limit is None else limit
        found: list[Any] = []
        with paused(), self._source.lock:
            self._fill(found, codec, most)
        self._tell_lost()
        return found

    def _fill(self, found: list[Any], codec: EventCodec, most: int) -> None:
        decoded = self._decoded
        if decoded is not None and decoded.codec is codec:
            found += itertools.islice(decoded.events, most)
        left = self._source.use().size
        while len(found) < most and left > 0:
            self._undecode()
            fresh = self._source.taken is None
            batch = self._grabbed(_CHUNK)
            if batch is None or (found and batch.runs[0].length < codec.size):
                break
            left -= len(batch.data) if fresh else 0
            found += self._decode(batch, codec, most - len(found))

    def _batches(self, size: int) -> list[Batch]:
        """All that is there, but nothing from the first record on that is shorter than ``size``."""
        found: list[Batch] = []
        with self._source.lock:
            self._undecode()
            size_left = self._source.use().size
            while size_left > 0:
                fresh = self._source.taken is None
                batch = self._grabbed(size_left)
                if batch is None or (found and batch.runs[0].length < size):
                    break
                size_left -= len(batch.data) if fresh else 0
                used, rest = self._cut(batch, size, sys.maxsize)
                found.append(Batch(batch.data, batch.header, used))
                self._source.taken = Batch(batch.data, batch.header, rest) if rest else None
        self._tell_lost()
        return found

    def _when_there_is_one(self, timeout: float | None, take: Callable[[], list[Any]]) -> list[Any]:
        patience = Patience(timeout)
        while not (found := take()):
            if not patience.wait(self._source.wait) or self._ended:
                break
        return found


class RingBuf(EventStream):
    """RINGBUF: one buffer for all CPUs, events in the order in which programs reserved them."""

    def __init__(self, backing: Backing, key: Codec, value: Codec) -> None:
        super().__init__(backing, key, value)
        self._records = backing.records()

    @property
    def _source(self) -> RecordSource:
        return self._records
