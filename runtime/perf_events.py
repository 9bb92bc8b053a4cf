"""PERF_EVENT_ARRAY: events through a buffer for each CPU, and arrays of counters that programs read."""

from __future__ import annotations

import sys
import threading

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.events import EventStream
from pyebpf.runtime.map_codec import Codec, HasFileno

if TYPE_CHECKING:
    from typing import Final

    from pyebpf.runtime.backing import Backing, RecordSource

PAGES: Final = 64
"""Memory pages of a CPU's buffer, unless said otherwise."""


class PerfEventArray(EventStream):
    """PERF_EVENT_ARRAY, as a stream of what programs hand to ``bpf_perf_event_output``.

    ``open`` makes the buffers, which the first use as a stream does too; what programs output before that is lost.
    Events of one CPU come in order, those of several CPUs in turns. The kernel pads events: an event decoded by a layout
    is as long as that says, one that is taken as bytes is up to 7 bytes longer than what the program gave.

    What did not fit is in ``lost``, as far as the kernel has reported it: it does so when there is room again.

    ``array[cpu] = event`` puts another perf event into a slot, such as a counter for ``bpf_perf_event_read_value``, and
    ``del array[cpu]`` takes it out.
    """

    def __init__(self, backing: Backing, key: Codec, value: Codec) -> None:
        super().__init__(backing, key, value)
        self._opening = threading.Lock()
        self._opened: RecordSource | None = None

    @property
    def _source(self) -> RecordSource:
        return self._opened or self.open()

    def open(self, pages: int = PAGES, wakeup: int = 1) -> RecordSource:
        """Make a buffer of ``pages`` memory pages (a power of two) for every CPU that runs; again is harmless.

        A consumer that waits is woken after ``wakeup`` records on a CPU. Raises ``BpfError``, ``ValueError``.
        """
        if pages < 1 or pages & (pages - 1):
            raise ValueError(f"a perf buffer has a power of two of pages, not {pages}")
        if wakeup < 1:
            raise ValueError(f"consumers are woken after 1 record or more, not {wakeup}")
        with self._opening:
            if self._opened is None:
                if self._ended:
                    raise ValueError(f"the perf event array {self.name!r} is closed")
                self._opened = self.backing.perf_records(pages, wakeup)
            return self._opened

    def close(self) -> None:
        """Give buffers and map up; what was not taken is dropped."""
        with self._opening:
            self._ended = True
        if self._opened is not None:
            super().close()
        else:
            self.backing.close()

    def __setitem__(self, cpu: int, event: HasFileno | int) -> None:
        number = event if isinstance(event, int) else event.fileno()
        self.elements.update(self._key.encode(cpu), number.to_bytes(4, sys.byteorder))

    def __delitem__(self, cpu: int) -> None:
        """Take the event of a slot out. Raises ``KeyError`` if there is none."""
        if not self.elements.delete(self._key.encode(cpu)):
            raise KeyError(cpu)
