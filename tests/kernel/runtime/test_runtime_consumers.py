"""Consumers of events that are closed, interrupted or outrun: they end, and what was not handed out stays."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from pyebpf.runtime.events import EventStream
from pyebpf.runtime.events_together import poll
from tests.kernel.runtime.objects import FRAME
from tests.kernel.runtime.test_runtime_streams import both, on_one_cpu


@both
def test_closing_ends_a_loop_that_is_busy(stream_of) -> None:  # type: ignore[no-untyped-def]  # either
    async def task(stream: EventStream) -> list[int]:
        return [close(stream, event) async for event in stream]

    def close(stream: EventStream, event: int) -> int:
        thread = threading.Thread(target=stream.close)
        thread.start()
        thread.join()
        return event

    loops: list[Callable[[EventStream], list[int]]] = [
        lambda stream: [close(stream, event) for event in stream],
        lambda stream: [close(stream, event) for event in stream.poll(0)],
        lambda stream: [close(stream, event) for _, event in poll(stream)],
        lambda stream: asyncio.run(task(stream)),
        lambda stream: [1] * stream.consume(lambda event: close(stream, event)),
    ]
    for loop in loops:
        with on_one_cpu(), stream_of() as (stream, program_):
            program_.run(FRAME, repeat=3)
            assert loop(stream) == [1]


def closing_first(stream: EventStream, real: Callable[..., Any]) -> Callable[..., Any]:
    def late(*args: Any, **more: Any) -> Any:
        stream.close()
        return real(*args, **more)

    return late


@both
def test_closing_right_before_a_loop_waits_ends_it(stream_of) -> None:  # type: ignore[no-untyped-def]  # either
    async def task(stream: EventStream) -> list[int]:
        return [event async for event in stream]

    loops: list[Callable[[EventStream], list[int]]] = [
        list,
        lambda stream: [event for _, event in poll(stream)],
        lambda stream: asyncio.run(task(stream)),
    ]
    for loop in loops:
        with stream_of() as (stream, _):
            for name in ("wait", "listen"):
                setattr(stream._source, name, closing_first(stream, getattr(stream._source, name)))
            assert loop(stream) == []
