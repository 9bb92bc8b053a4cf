"""What a ``Map`` object works on: a map of the kernel, behind a descriptor, or one of the built-in machine.

The classes in ``maps``, ``map_kinds`` and ``events`` know these protocols only, so they are the same on both, and none
of what they import needs Linux. ``kernel_backing`` and ``vm.maps_user`` implement them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from pyebpf.hints import TYPE_CHECKING, Protocol
from pyebpf.records import dataclass
from pyebpf.runtime.errors import BpfError, Phase
from pyebpf.uapi.constants import MapType

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from threading import Lock
    from typing import Final

    from pyebpf.runtime.fd import Fd
    from pyebpf.runtime.record_batches import Batch


MIXED: Final = "streams of the kernel and of the built-in machine cannot be waited for together"


@dataclass(frozen=True, slots=True)
class MapFacts:
    """What is known of a map, whoever holds it. Sizes in bytes; the BTF ids are 0 for a map without type information."""

    id: int
    type: MapType
    name: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    map_extra: int
    btf_id: int
    key_type_id: int
    value_type_id: int


class NoBatch(Exception):
    """There is no batch operation for this kind of map."""


class ElementAccess(Protocol):
    """The elements of a map as raw bytes, as system calls of user space see them."""

    @property
    def frozen(self) -> bool:
        """Whether user space can no longer write to the map."""

    def failure(self, code: int, phase: Phase, detail: str = "") -> BpfError:
        """The exception for the errno ``code`` on this map."""

    def lookup(self, key: bytes | None, *, delete: bool = False, flags: int = 0) -> bytes | None:
        """The value of ``key`` (``None`` for queues and stacks), or ``None`` if there is none; ``delete`` takes it out
        in the same step. Raises ``BpfError``."""

    def update(self, key: bytes | None, value: bytes, flags: int = 0) -> None:
        """Set an element. Raises ``BpfError``: E2BIG full, EEXIST and ENOENT by the flags, EPERM frozen."""

    def delete(self, key: bytes) -> bool:
        """Take an element out; whether it was there. Raises ``BpfError``."""

    def next_key(self, key: bytes | None) -> bytes | None:
        """The key after ``key``, or the first one; ``None`` at the end."""

    def walk(self) -> Iterator[bytes]:
        """Every key once."""

    def batches(self, *, delete: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Every key with its value; ``delete`` takes them out in the same step. Raises ``NoBatch`` before the first
        pair where there is no such operation."""

    def update_many(self, pairs: Sequence[tuple[bytes, bytes]], flags: int = 0) -> None:
        """Set many elements. Those before a failing one are set."""

    def delete_many(self, keys: Iterable[bytes]) -> int:
        """Take many elements out; how many were there."""


@dataclass(frozen=True, slots=True)
class BufferUse:
    """How full a buffer is, in bytes. ``produced`` and ``consumed`` count what programs wrote and user space took since
    it was made; of several buffers (one for each CPU) they are sums."""

    size: int
    produced: int
    consumed: int

    @property
    def waiting(self) -> int:
        """Bytes that were not taken yet, headers and unfinished records included."""
        return self.produced - self.consumed


class RecordSource(Protocol):
    """The consumer's side of a ring buffer or of perf buffers. One thread at a time uses it, but for ``fileno``,
    ``wait`` and ``listen``."""

    taken: list[Batch]
    """What was taken and waits, in order. The list is replaced, never changed. It is set and the space given back with
    nothing in between that could raise, so an exception out of a signal handler loses no record."""

    lock: Lock
    """Held for every use but ``fileno``, ``wait`` and ``listen``."""

    def grab(self, most: int) -> None:
        """Copy committed records, of about ``most`` bytes at most, as one batch more of ``taken``, and free
        their space; where there are none, ``taken`` stays the same list. Raises ``ValueError`` after ``close``."""

    @property
    def lost(self) -> int | None:
        """How many records the kernel reported as lost; ``None`` where it does not count them."""

    def use(self) -> BufferUse:
        """How full it is now."""

    def fileno(self) -> int:
        """A descriptor that is readable while there are records. Raises ``ValueError`` after ``close``, ``NotInKernel``
        for a map of the built-in machine."""

    def wait(self, seconds: float | None, others: Sequence[RecordSource] = ()) -> bool:
        """Wait until there may be a record here or in ``others``, or one of them is closed, at most so many seconds
        (``None``: for ever); whether there may be one. Raises ``TypeError`` where one is of the kernel and one of the
        built-in machine."""

    def listen(self, loop: AbstractEventLoop, wake: Callable[[], None]) -> Callable[[], None]:
        """Have ``wake`` called in ``loop`` when there may be a record, perhaps several times, until the function that
        this returns is called."""

    def close(self) -> None:
        """Give up what is held and let those return that ``wait``; again is harmless."""


class Backing(Protocol):
    """A map, wherever it lives."""

    @property
    def facts(self) -> MapFacts:
        """What the map is."""

    @property
    def cpus(self) -> int:
        """How many values an element of a per-CPU map has."""

    @property
    def handle(self) -> Fd:
        """The descriptor that is owned. Raises ``NotInKernel`` where there is none."""

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""

    def info(self) -> MapFacts:
        """The facts as they are now."""

    def elements(self, value_bytes: int) -> ElementAccess:
        """Access to the elements; ``value_bytes``: what a value takes in user space."""

    def records(self) -> RecordSource:
        """The consumer of a ring buffer."""

    def perf_records(self, pages: int, wakeup: int) -> RecordSource:
        """The consumer of a perf event array, with buffers of ``pages`` memory pages for each CPU, of which each wakes
        a waiting consumer after ``wakeup`` records. Raises ``BpfError``."""

    def freeze(self) -> None:
        """Forbid user space to write. Raises ``BpfError``; EBUSY while the map is memory-mapped."""

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Give it a name in bpffs. Raises ``NotInKernel``, ``BpfError``."""

    def close(self) -> None:
        """Give it up; again is harmless."""
