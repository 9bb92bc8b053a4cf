"""Events of several streams in one loop."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from pyebpf.hints import Any
from pyebpf.runtime.events import EventStream
from pyebpf.runtime.patience import Patience


def poll(*streams: EventStream, timeout: float | None = None) -> Iterator[tuple[EventStream, Any]]:
    """Give the events of several streams as they come, each with its stream, in turns of some thousands.

    ``timeout``: seconds; the iteration ends when that long no event came on any of them (0: what is there, ``None``:
    never), or when one of them is closed. Raises ``ValueError`` without a stream and for one that is closed already,
    ``TypeError`` where it would have to wait for streams of the kernel and of the built-in machine.
    """
    if not streams:
        raise ValueError("poll needs at least one ring buffer or perf buffer")
    for stream in streams:
        if stream.ended:
            raise ValueError(f"the stream {stream.name!r} is closed")
    return _poll(streams, timeout)


def _poll(streams: tuple[EventStream, ...], timeout: float | None) -> Iterator[tuple[EventStream, Any]]:
    patience = Patience(timeout)
    wait = functools.partial(streams[0].waits_for, others=streams[1:])
    until = [None if timeout is None or timeout > 0 else stream.horizon() for stream in streams]
    while not any(stream.ended for stream in streams):
        found = False
        for stream, end in zip(streams, until, strict=True):
            events = stream.some(until=end)
            if events is not None:
                found = True
                for event in events:
                    yield stream, event
        if found:
            patience.renew()
        elif not patience.wait(wait):
            return
