"""The perf event array, as far as it carries events to user space. Source: kernel/trace/bpf_trace.c, net/core/filter.c,
kernel/events/ring_buffer.c.
"""

from __future__ import annotations

import errno
import threading
from collections import deque
from collections.abc import Callable

from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import MapSpec
from pyebpf.records import dataclass
from pyebpf.runtime.vm.environment import Environment
from pyebpf.runtime.vm.maps import MachineMap, refuse
from pyebpf.runtime.vm.memory import Memory
from pyebpf.uapi.constants import BPF_F_CURRENT_CPU, BPF_F_INDEX_MASK

if TYPE_CHECKING:
    from typing import Final


_PAGE: Final = 4096
_HEADER: Final = 8
_LOST_RECORD: Final = 24
"""Bytes of the record that tells of losses, which the next record that fits brings along."""


@dataclass(slots=True)
class _Buffer:
    """The buffer of one CPU: how full it is, in bytes, and what did not fit since the last record that did."""

    used: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class _Record:
    """``length`` in bytes with the header, ``lost`` as it tells, ``end`` the position behind it, counted over all CPUs."""

    buffer: _Buffer
    data: bytes
    length: int
    lost: int
    end: int


class PerfMap(MachineMap):
    """PERF_EVENT_ARRAY: a buffer for each CPU once user space has opened them, together of ``size`` bytes. Counters of the
    hardware, which the kernel's slots can also hold, are not here.

    User space takes events by setting ``consumed``, a position, while it holds ``consuming``.

    ``listeners`` are called when there is an event, in the thread of the program.
    """

    def __init__(self, spec: MapSpec, memory: Memory, environment: Environment) -> None:
        if (spec.key_size, spec.value_size) != (4, 4):
            raise refuse(spec, "keys and values of a perf event array have 4 bytes")
        super().__init__(spec, memory, environment)
        self.entries = spec.max_entries or environment.cpus
        self.size = 0
        self.produced = 0
        self.consumed = 0
        self.listeners: set[Callable[[], object]] = set()
        self._room = 0
        self._lost = 0
        self._records: deque[_Record] = deque()
        self._buffers: dict[int, _Buffer] = {}
        self._changed = threading.Lock()
        self.consuming = threading.Lock()

    def open(self, pages: int) -> None:
        """Make empty buffers of so many memory pages."""
        with self._changed:
            self._room = pages * _PAGE
            self._buffers = {cpu: _Buffer() for cpu in range(min(self.environment.cpus, self.entries))}
            self.size = self._room * len(self._buffers)
            self._records.clear()
            self.produced = self.consumed = self._lost = 0

    def shut(self) -> None:
        """Take the buffers out of the slots."""
        with self._changed:
            self._buffers = {}
            self._records.clear()
            self.consumed = self.produced

    def output(self, data: bytes, flags: int) -> int:
        """EINVAL for unknown flags, E2BIG for a slot that is not there, ENOENT for an empty one, EOPNOTSUPP for another
        CPU's, ENOSPC if there is no room."""
        if flags & ~BPF_F_INDEX_MASK:
            return -errno.EINVAL
        here = self.environment.cpu
        cpu = here if flags == BPF_F_CURRENT_CPU else flags
        if cpu >= self.entries:
            return -errno.E2BIG
        with self._changed:
            buffer = self._buffers.get(cpu)
            if buffer is None:
                return -errno.ENOENT
            if cpu != here:
                return -errno.EOPNOTSUPP
            self._forget()
            raw = (4 + len(data) + 7) & ~7
            length = _HEADER + raw + (_LOST_RECORD if buffer.lost else 0)
            if buffer.used + length > self._room - 1:
                buffer.lost += 1
                return -errno.ENOSPC
            buffer.used += length
            self.produced += length
            padded = data.ljust(raw - 4, b"\0")
            self._records.append(_Record(buffer, padded, length, buffer.lost, self.produced))
            buffer.lost = 0
        for listener in list(self.listeners):
            listener()
        return 0

    @property
    def ready(self) -> bool:
        """Whether there is an event."""
        return self.consumed < self.produced

    @property
    def lost(self) -> int | None:
        """As what user space has taken tells."""
        with self._changed:
            self._forget()
            return self._lost

    def finished(self, most: int) -> tuple[list[bytes], int]:
        """The oldest events, of about ``most`` bytes, padded as the kernel does, and the position behind them."""
        with self._changed:
            self._forget()
            found: list[bytes] = []
            start = position = self.consumed
            for record in self._records:
                if position - start >= most:
                    break
                position = record.end
                found.append(record.data)
            return found, position

    def _forget(self) -> None:
        """Drop the events that user space has taken."""
        records = self._records
        while records and records[0].end <= self.consumed:
            record = records[0]
            # Nothing may come between these three: a call would let a signal handler raise.
            del records[0]
            record.buffer.used -= record.length
            self._lost += record.lost

    def close(self) -> None:
        """Forget the events."""
        self.shut()
