"""Events of several streams in one loop."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

from pyebpf.runtime.events import PAUSE, EventStream, deadline_of


def poll(*streams: EventStream, timeout: float | None = None) -> Iterator[tuple[EventStream, Any]]:
    """Give the events of several streams as they come, each with its stream, in turns of some thousands.

    ``timeout``: seconds; the iteration ends when that long no event came on any of them (0: what is there, ``None``:
    never), or when one of them is closed while it waits. Raises ``ValueError`` without a stream.
    """
    if not streams:
        raise ValueError("poll needs at least one ring buffer or perf buffer")
    return _poll(streams, timeout)


def _poll(streams: tuple[EventStream, ...], timeout: float | None) -> Iterator[tuple[EventStream, Any]]:
    deadline = deadline_of(timeout)
    woken = False
    while True:
        found = False
        for stream in streams:
            events = stream.some()
            if events is not None:
                found = True
                for event in events:
                    yield stream, event
        if found:
            deadline, woken = deadline_of(timeout), False
            continue
        left = deadline - time.monotonic()
        if left <= 0:
            return
        if woken:
            time.sleep(PAUSE)
        woken = streams[0].waits_for(None if left == math.inf else left, streams[1:])
        if any(stream.ended for stream in streams):
            return
