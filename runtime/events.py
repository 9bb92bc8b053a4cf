"""Events from programs: the consumer of a ring buffer, over ``backing.RecordSource``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from pyebpf.layout import Layout
from pyebpf.runtime.backing import Backing
from pyebpf.runtime.map_codec import Codec, RawCodec, codec_for
from pyebpf.runtime.maps import Map


class RingBuf(Map):
    """RINGBUF: ``for event in ring.poll(timeout)``, or ``ring.consume(callback)``; ``fileno`` works with
    epoll.

    An event is decoded by the layout of the map's value, or is bytes if there is none. Consumers in several
    threads share the events: each gets some.
    """

    def __init__(self, backing: Backing, key: Codec, value: Codec) -> None:
        super().__init__(backing, key, value)
        self._records = backing.records()

    def poll(self, timeout: float | None = None, layout: Layout | None = None) -> Iterator[Any]:
        """Give events as they come.

        ``timeout``: seconds; the iteration ends when that long no event came. 0 gives what is there,
        ``None`` never ends. ``layout``: of the events, if not the map's. Raises ``ValueError`` for a record
        shorter than that.
        """
        codec = self._value if layout is None else codec_for(layout, layout.size)
        deadline = _deadline(timeout)
        while True:
            record = self._records.take()
            if record is not None:
                yield self._decode(record, codec)
                deadline = _deadline(timeout)
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._records.wait(None if left == math.inf else left)

    def consume(self, callback: Callable[[Any], object]) -> int:
        """Call ``callback`` with every event that is there; how many there were. Never waits.

        An exception of the callback goes through; its event has been taken, those after it have not.
        """
        count = 0
        while (record := self._records.take()) is not None:
            callback(self._decode(record, self._value))
            count += 1
        return count

    def close(self) -> None:
        """Unmap the memory and give the map up. Waits for a consumer in another thread to finish its
        record."""
        self._records.close()
        super().close()

    def _decode(self, record: bytes, codec: Codec) -> Any:
        if isinstance(codec, RawCodec):
            return record
        if len(record) < codec.size:
            raise ValueError(
                f"a record of {len(record)} bytes in {self.name!r}, where events have {codec.size}"
            )
        return codec.decode(record)


def _deadline(timeout: float | None) -> float:
    return math.inf if timeout is None else time.monotonic() + timeout
