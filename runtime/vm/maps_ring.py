"""The ring buffer. Source: kernel/bpf/ringbuf.c.

Positions count bytes as the kernel's do: a header of 8 bytes before each record, both rounded up to 8.
"""

from __future__ import annotations

import errno
import threading
from collections import deque
from collections.abc import Callable

from pyebpf.object import MapSpec
from pyebpf.records import dataclass
from pyebpf.runtime.vm.environment import Environment
from pyebpf.runtime.vm.maps import MachineMap, refuse
from pyebpf.runtime.vm.memory import Memory, Region
from pyebpf.uapi.constants import (
    BPF_RB_AVAIL_DATA,
    BPF_RB_CONS_POS,
    BPF_RB_FORCE_WAKEUP,
    BPF_RB_NO_WAKEUP,
    BPF_RB_PROD_POS,
    BPF_RB_RING_SIZE,
    BPF_RINGBUF_HDR_SZ,
)

_LARGEST = 0xFFFF_FFFF // 4
_PAGE = 4096


@dataclass(slots=True)
class _Record:
    """A reservation: ``length`` in bytes with the header, ``end`` the position behind it; ``data`` is set once it is
    submitted."""

    length: int
    region: Region | None
    data: bytes | None = None
    discarded: bool = False
    end: int = 0


class RingMap(MachineMap):
    """RINGBUF: records that programs reserve or output and user space takes, in the order of reservation.

    As with the kernel, user space takes records by setting ``consumed``, a position, while it holds ``consuming``.

    ``listeners`` are called when a record is finished, in the thread of the program.
    """

    def __init__(self, spec: MapSpec, memory: Memory, environment: Environment) -> None:
        if spec.key_size or spec.value_size:
            raise refuse(spec, "a ring buffer has no keys and no values")
        if spec.max_entries < 1:
            raise refuse(spec, "a ring buffer needs a size")
        super().__init__(spec, memory, environment)
        # The loader rounds sizes up for the kernel too: a power of two of whole pages.
        self.size = 1 << (max(spec.max_entries, _PAGE) - 1).bit_length()
        self.produced = 0
        self.consumed = 0
        self.lost: int | None = None
        self._records: deque[_Record] = deque()
        self._reserved: dict[int, _Record] = {}
        self._changed = threading.Lock()
        self.consuming = threading.Lock()
        self.listeners: set[Callable[[], object]] = set()

    def _room(self, size: int) -> int | None:
        length = (size + BPF_RINGBUF_HDR_SZ + 7) & ~7
        if size > _LARGEST or length > self.size or self.produced + length - self.consumed > self.size - 1:
            return None
        return length

    def _append(self, record: _Record) -> None:
        with self._changed:
            self._forget()
            record.end = self.produced + record.length
            self._records.append(record)
            self.produced = record.end
        if record.data is not None:
            self._tell()

    def _tell(self) -> None:
        for listener in list(self.listeners):
            listener()

    def reserve(self, size: int, flags: int) -> int:
        """The address of a record of ``size`` bytes; 0 if there is no room or a flag is set."""
        length = None if flags else self._room(size)
        if length is None:
            return 0
        region = self.memory.map(bytearray(size), f"a record of the ring buffer {self.spec.name!r}")
        self._owned[region.address] = region
        record = _Record(length, region)
        self._append(record)
        self._reserved[region.address] = record
        return region.address

    def commit(self, address: int, *, discard: bool) -> bool:
        """End a reservation; whether there was one at ``address``."""
        record = self._reserved.pop(address, None)
        if record is None or record.region is None:
            return False
        with self._changed:
            record.data = bytes(record.region.data)
            record.discarded = discard
            del self._owned[address]
            self.memory.unmap(record.region)
            record.region = None
        self._tell()
        return True

    def output(self, data: bytes, flags: int) -> int:
        """EINVAL for other flags than about waking up, EAGAIN if there is no room."""
        if flags & ~(BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP):
            return -errno.EINVAL
        length = self._room(len(data))
        if length is None:
            return -errno.EAGAIN
        self._append(_Record(length, None, data))
        return 0

    def query(self, what: int) -> int:
        """What bpf_ringbuf_query answers; 0 for a question that it does not know."""
        answers = {
            BPF_RB_AVAIL_DATA: self.produced - self.consumed,
            BPF_RB_RING_SIZE: self.size,
            BPF_RB_CONS_POS: self.consumed,
            BPF_RB_PROD_POS: self.produced,
        }
        return answers.get(what, 0)

    @property
    def ready(self) -> bool:
        """Whether the oldest record is finished."""
        with self._changed:
            self._forget()
            return bool(self._records) and self._records[0].data is not None

    def finished(self, most: int) -> tuple[list[bytes], int]:
        """The oldest records, of about ``most`` bytes, up to one that is still being written, without those that were
        discarded; and the position behind them."""
        with self._changed:
            self._forget()
            found: list[bytes] = []
            start = position = self.consumed
            for record in self._records:
                if record.data is None or position - start >= most:
                    break
                position = record.end
                if not record.discarded:
                    found.append(record.data)
            return found, position

    def _forget(self) -> None:
        """Drop the records that user space has taken."""
        while self._records and self._records[0].end <= self.consumed:
            self._records.popleft()

    def remove(self, key: bytes) -> int:
        """ENOTSUPP, as the kernel answers for all elements of ring buffers."""
        return -524

    def read(self, key: bytes | None) -> bytes | int:
        """ENOTSUPP."""
        return -524

    def write(self, key: bytes | None, value: bytes, flags: int) -> int:
        """ENOTSUPP."""
        return -524

    def next_key(self, key: bytes | None) -> bytes | int:
        """ENOTSUPP."""
        return -524

    def close(self) -> None:
        """Forget the records."""
        with self._changed:
            for record in self._reserved.values():
                if record.region is not None:
                    del self._owned[record.region.address]
                    self.memory.unmap(record.region)
            self._reserved.clear()
            self._records.clear()
