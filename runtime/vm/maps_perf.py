"""The perf event array, as far as it carries events to user space. Source: kernel/trace/bpf_trace.c, net/core/filter.c,
kernel/events/ring_buffer.c.
"""

from __future__ import annotations

import errno
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pyebpf.object import MapSpec
from pyebpf.runtime.vm.environment import Environment
from pyebpf.runtime.vm.maps import MachineMap, refuse
from pyebpf.runtime.vm.memory import Memory
from pyebpf.uapi.constants import BPF_F_CURRENT_CPU, BPF_F_INDEX_MASK

_PAGE: Final = 4096
_HEADER: Final = 8
_LOST_RECORD: Final = 24
"""Bytes of the record that tells of losses, which the next record that fits brings along."""


@dataclass(slots=True)
class _Buffer:
    """The buffer of one CPU: how full it is, in bytes, and what did not fit since the last record that did."""

    used: int = 0
    lost: int = 0


class PerfMap(MachineMap):
    """PERF_EVENT_ARRAY: a buffer of ``size`` bytes for each CPU once user space has opened them. Counters of the
    hardware, which the kernel's slots can also hold, are not here.

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
        self.lost: int | None = 0
        self.listeners: set[Callable[[], object]] = set()
        self._records: deque[tuple[_Buffer, bytes, int, int]] = deque()
        self._buffers: dict[int, _Buffer] = {}
        self._changed = threading.Lock()

    def open(self, pages: int) -> None:
        """Make empty buffers of so many memory pages."""
        with self._changed:
            self.size = pages * _PAGE
            self._buffers = {cpu: _Buffer() for cpu in range(min(self.environment.cpus, self.entries))}
            self._records.clear()
            self.produced = self.consumed = 0
            self.lost = 0

    def shut(self) -> None:
        """Take the buffers out of the slots."""
        with self._changed:
            self._buffers = {}
            self._records.clear()

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
            raw = (4 + len(data) + 7) & ~7
            length = _HEADER + raw + (_LOST_RECORD if buffer.lost else 0)
            if buffer.used + length > self.size - 1:
                buffer.lost += 1
                return -errno.ENOSPC
            buffer.used += length
            self.produced += length
            self._records.append((buffer, data.ljust(raw - 4, b"\0"), length, buffer.lost))
            buffer.lost = 0
        for listener in list(self.listeners):
            listener()
        return 0

    @property
    def ready(self) -> bool:
        """Whether there is an event."""
        return bool(self._records)

    def take_record(self) -> bytes | None:
        """The oldest event, padded as the kernel does, which user space takes; ``None`` if there is none."""
        with self._changed:
            if not self._records:
                return None
            buffer, data, length, lost = self._records.popleft()
            buffer.used -= length
            self.consumed += length
            self.lost = (self.lost or 0) + lost
            return data

    def close(self) -> None:
        """Forget the events."""
        self.shut()
