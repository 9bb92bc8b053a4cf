"""Queues and stacks. Source: kernel/bpf/queue_stack_maps.c."""

from __future__ import annotations

import errno
from collections import deque

from pyebpf.object import MapSpec
from pyebpf.runtime.vm.environment import Environment
from pyebpf.runtime.vm.maps import MachineMap, refuse
from pyebpf.runtime.vm.memory import Memory
from pyebpf.uapi.constants import MapUpdateFlag


class QueueMap(MachineMap):
    """QUEUE: first in, first out."""

    NEXT = 0
    """Where the next value is: at the left end."""

    def __init__(self, spec: MapSpec, memory: Memory, environment: Environment) -> None:
        if spec.max_entries < 1 or spec.value_size < 1 or spec.key_size != 0:
            raise refuse(spec, "queues and stacks need entries and a value, and have no key")
        super().__init__(spec, memory, environment)
        self._values: deque[bytes] = deque()

    def push(self, value: bytes, flags: int) -> int:
        """EINVAL for other flags than EXIST, with which a full one drops its oldest value; else that is E2BIG."""
        if flags > MapUpdateFlag.EXIST or flags & MapUpdateFlag.NOEXIST:
            return -errno.EINVAL
        if len(self._values) >= self.spec.max_entries:
            if flags != MapUpdateFlag.EXIST:
                return -errno.E2BIG
            self._values.popleft()
        self._values.append(value)
        return 0

    def pop(self) -> bytes | None:
        """Take the next value out; ``None`` if there is none."""
        value = self.peek()
        if value is not None:
            del self._values[self.NEXT]
        return value

    def peek(self) -> bytes | None:
        """The next value; ``None`` if there is none."""
        return self._values[self.NEXT] if self._values else None

    def read(self, key: bytes | None) -> bytes | int:
        """``peek``; ENOENT."""
        found = self.peek()
        return -errno.ENOENT if found is None else found

    def take(self, key: bytes | None) -> bytes | int:
        """``pop``; ENOENT."""
        found = self.pop()
        return -errno.ENOENT if found is None else found

    def write(self, key: bytes | None, value: bytes, flags: int) -> int:
        """``push``."""
        return self.push(value, flags)

    def remove(self, key: bytes) -> int:
        """EINVAL: there are no keys."""
        return -errno.EINVAL

    def next_key(self, key: bytes | None) -> bytes | int:
        """EINVAL: there are no keys."""
        return -errno.EINVAL

    def close(self) -> None:
        """Forget the values."""
        self._values.clear()


class StackMap(QueueMap):
    """STACK: last in, first out."""

    NEXT = -1
