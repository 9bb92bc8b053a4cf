"""Events from programs: the consumers of ring buffers and perf buffers, over ``backing.RecordSource``.

Records are copied out and decoded some thousands at a time, but handed out one by one from an iterator that all
consumers of a stream share. So nothing is lost when a loop over events ends early, a callback raises, or a task is
cancelled: what was not handed out is the next consumer's.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence, Sized

from pyebpf.collecting import paused
from pyebpf.hints import TYPE_CHECKING, Any, TypeVar
from pyebpf.layout import Layout
from pyebpf.records import dataclass, field
from pyebpf.runtime.backing import Backing, BufferUse, RecordSource
from pyebpf.runtime.errors import LostEvents
from pyebpf.runtime.map_codec import Codec, LayoutCodec
from pyebpf.runtime.maps import Map
from pyebpf.runtime.patience import Patience
from pyebpf.runtime.record_batches import Batch, EventCodec, event_codec, split

if TYPE_CHECKING:
    from typing import Final

    import numpy as np

_Made = TypeVar("_Made", bound=Sized)

_CHUNK: Final = 1 << 18
"""Bytes that are copied out in one go: they stay in the processor's cache until they are decoded."""

_MOST: Final = 4096
"""How many objects are made in advance."""

_PAUSE_FROM: Final = 500
"""From so many records on, the garbage collector waits until all are objects."""


@dataclass(slots=True)
class _Decoded:
    """Events that were decoded by ``codec`` from ``batches`` and wait to be handed out. ``back``: those that went back to
    the source instead."""

    events: Iterator[Any]
    codec: EventCodec
    batches: list[Batch]
    back: list[Any] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        """How many were not handed out yet."""
        hint: int = self.events.__length_hint__()  # type: ignore[attr-defined]  # a list's iterator has it
        return hint + len(self.back)


class EventStream(Map):
    """What ring buffers and perf buffers have in common. ``fileno`` works with ``select``, ``poll`` and the like.

    An event is decoded by the layout of the map's value; bytes if there is no layout. Objects of the user's classes may be
    changed. Where the kernel says that events were lost, ``on_lost`` is called with how many since the last time, before
    those behind them are handed out; unless it is set, there is a ``LostEvents`` warning.

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
        until = None if timeout is None or timeout > 0 else self.horizon()
        while not self._ended:
            events = self.some(codec, until)
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
        """Call ``callback`` with every event that is there; how many there were. Never waits, and ends where programs are
        faster than the callback.

        An exception of the callback goes through; its event has been taken, those after it have not.
        """
        codec = self._begun(layout)
        until = self.horizon()
        count = 0
        while (events := self.some(codec, until)) is not None:
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
        if limit is not None and limit < 1:
            raise ValueError(f"a batch has 1 event or more, not {limit}")
        return self._when_there_is_one(timeout, lambda: self._list(codec, limit))

    def read_all(self, layout: Layout | None = None) -> list[Any]:
        """All events that are there. Never waits."""
        return self._list(self._begun(layout), None)

    def numpy(self, layout: Layout | None = None, *, timeout: float | None = 0) -> np.ndarray[Any, Any]:
        """All events that are there as a numpy array of the layout's ``dtype``, without looking at each: fields are
        columns (``a["time"]``). The array may be read-only, and records lie further apart than they are long. Without
        a layout it has a row of bytes for each record. Waits as ``batch`` does. Needs the package numpy.
        """
        codec = self._begun(layout)
        return self._when_there_is_one(timeout, lambda: self._array(codec))

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

    def some(self, codec: EventCodec | None = None, until: int | None = None) -> Iterator[Any] | None:
        """The iterator over the next events that all consumers share; ``None`` if there are none, as after ``close``,
        and where the buffer has been consumed up to ``until``. It may turn out to be empty, if another consumer was
        faster."""
        codec = codec or self._codec
        self._take(1, _CHUNK, until)
        with self._source.lock:
            decoded = self._decoded
            if decoded is not None and decoded.codec is codec and decoded.waiting and not decoded.back:
                return decoded.events
            self._undecode()
            return self._decode(codec) if self._source.taken else None

    def horizon(self) -> int:
        """How far the buffer is consumed, at most, once all is taken that is there now. A consumer of what is there stops
        at it, so it ends even where programs are faster."""
        with self._source.lock:
            return self._horizon()

    def _horizon(self) -> int:
        if self._ended:
            return 0
        use = self._source.use()
        return use.consumed + use.size

    def _take(self, most: int, chunk: int, until: int | None = None) -> None:
        """Have the source take what is there, by ``chunk`` bytes, until ``most`` records wait to be handed out or it is
        consumed up to ``until``. What was lost is told now: that may raise, and nothing has been handed out yet."""
        source = self._source
        with source.lock:
            if self._ended:
                return
            until = self._horizon() if until is None else until
            waiting = sum(batch.count for batch in source.taken)
            waiting += self._decoded.waiting if self._decoded is not None else 0
            while waiting < most and source.use().consumed < until:
                before = source.taken
                source.grab(chunk)
                if source.taken is before:
                    break
                waiting += source.taken[-1].count
            lost = source.lost or 0
            more, self._told = lost - self._told, lost
        if more > 0:
            self._tell_lost(more)

    def _tell_lost(self, more: int) -> None:
        """Without the lock: who is told may use the stream."""
        if self.on_lost is not None:
            self.on_lost(more)
        else:
            text = f"{more} events of {self.name!r} were lost: they came faster than they were taken"
            warnings.warn(text, LostEvents, stacklevel=5)

    def _decode(self, codec: EventCodec) -> Iterator[Any]:
        """Decode some thousands of the events that the source has taken."""
        source = self._source
        used, left = self._cut(codec.size, _MOST, source.taken[:1])
        left += source.taken[1:]
        made = _Decoded(iter(_objects(codec, used)), codec, used)
        # Nothing may come between these two, see ``RecordSource.taken``.
        self._decoded = made
        source.taken = left
        return made.events

    def _cut(self, size: int, most: int, taken: list[Batch]) -> tuple[list[Batch], list[Batch]]:
        """The first ``most`` records of ``taken``, but none from the first one on that is shorter than ``size``, and the
        others. Where that is the very first one: give it up and raise ``ValueError``."""
        count = 0
        for run in (run for batch in taken for run in batch.runs):
            if run.length < size or count >= most:
                break
            count += run.count
        if taken and not count:
            length = taken[0].runs[0].length
            self._source.taken = split(self._source.taken, 1)[1]
            raise ValueError(f"a record of {length} bytes in {self.name!r}, where events have {size}")
        return split(taken, min(most, count))

    def _undecode(self) -> None:
        """Give decoded events that nobody has taken back to the source. What an exception out of a signal handler
        interrupts, the next call completes."""
        decoded = self._decoded
        if decoded is None:
            return
        source = self._source
        decoded.back.extend(decoded.events)  # one step, which ends the iterations
        count = sum(batch.count for batch in decoded.batches)
        taken = split(decoded.batches, count - len(decoded.back))[1] + source.taken
        # Nothing may come between these two.
        source.taken = taken
        self._decoded = None

    def _all(self, make: Callable[[list[Batch]], _Made], size: int, most: int, chunk: int) -> _Made:
        """What ``make`` makes of at most ``most`` records, of all that are there before the first one that is shorter than
        ``size``. They are gone once it is made: if it cannot be, or is interrupted, they stay."""
        self._take(most, chunk)
        source = self._source
        with source.lock:
            self._undecode()
            used, left = self._cut(size, most, source.taken)
            made = make(used)
            source.taken = left
        return made

    def _list(self, codec: EventCodec, limit: int | None) -> list[Any]:
        most = sys.maxsize if limit is None else limit
        return self._all(functools.partial(_objects, codec), codec.size, most, _CHUNK)

    def _array(self, codec: EventCodec) -> np.ndarray[Any, Any]:
        return self._all(codec.array, codec.size, sys.maxsize, sys.maxsize)

    def _when_there_is_one(self, timeout: float | None, take: Callable[[], _Made]) -> _Made:
        patience = Patience(timeout)
        while not len(found := take()) and not self._ended and patience.wait(self._source.wait):
            pass
        return found


def _objects(codec: EventCodec, batches: list[Batch]) -> list[Any]:
    found: list[Any] = []
    with paused() if sum(batch.count for batch in batches) > _PAUSE_FROM else contextlib.nullcontext():
        for batch in batches:
            for run in batch.runs:
                found += codec.objects(batch, run)
    return found


class RingBuf(EventStream):
    """RINGBUF: one buffer for all CPUs, events in the order in which programs reserved them."""

    def __init__(self, backing: Backing, key: Codec, value: Codec) -> None:
        super().__init__(backing, key, value)
        self._records = backing.records()

    @property
    def _source(self) -> RecordSource:
        return self._records
