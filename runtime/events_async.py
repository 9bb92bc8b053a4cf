"""Events for ``async for``: the same shared iterators as in ``events``, waited for by the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from pyebpf.hints import TYPE_CHECKING, Any
from pyebpf.runtime.backing import RecordSource
from pyebpf.runtime.patience import PAUSE
from pyebpf.runtime.record_batches import EventCodec

if TYPE_CHECKING:
    from typing import Final

    from pyebpf.runtime.events import EventStream

_NOTHING: Final = object()


class AsyncEvents(AsyncIterator[Any]):
    """The events of ``stream``, decoded by ``codec``. An event is taken and returned without a suspension in between,
    so cancelling the task loses none."""

    def __init__(self, stream: EventStream, source: RecordSource, codec: EventCodec) -> None:
        self._stream = stream
        self._source = source
        self._codec = codec
        self._events: Iterator[Any] = iter(())

    async def __anext__(self) -> Any:
        woken = False
        while (event := next(self._events, _NOTHING)) is _NOTHING:
            found = self._stream.some(self._codec)
            if found is not None:
                self._events = found
                await asyncio.sleep(0)  # others run now and then, even if events never cease
                continue
            if self._stream.ended:
                raise StopAsyncIteration
            if woken:
                await asyncio.sleep(PAUSE)  # the oldest record is still being written
            await self._wait()
            woken = True
        return event

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        try:
            stop = self._source.listen(loop, wake)
        except ValueError:
            if self._stream.ended:  # a moment ago, in another thread
                return
            raise
        try:
            with self._stream.woken_by_close(lambda: loop.call_soon_threadsafe(wake)):
                await future
        finally:
            stop()
