"""Maps of the machine as user space sees them: ``runtime.backing`` over a ``MachineMap``."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator, Sequence

from pyebpf.btf.layouts import layout_of
from pyebpf.hints import TYPE_CHECKING, Any
from pyebpf.records import dataclass
from pyebpf.runtime.backing import ElementAccess, MapFacts, NoBatch, RecordSource
from pyebpf.runtime.errors import ENOTSUPP, BpfError, NotInKernel, NotSupported, PermissionDenied, Phase
from pyebpf.runtime.map_codec import Buffer
from pyebpf.runtime.map_kinds import present
from pyebpf.runtime.maps import Map
from pyebpf.runtime.vm.maps import MachineMap
from pyebpf.runtime.vm.maps_array import ObjectArray
from pyebpf.runtime.vm.maps_hash import HashMap, HashOfMaps
from pyebpf.runtime.vm.maps_perf import PerfMap
from pyebpf.runtime.vm.maps_ring import RingMap
from pyebpf.uapi.constants import MapCreateFlag

if TYPE_CHECKING:
    from typing import Final

    from pyebpf.runtime.fd import Fd

_NAME_BYTES: Final = 15


class MachineElements:
    """``backing.ElementAccess`` over a map of the machine: the same results and errors as system calls give."""

    def __init__(self, map_: MachineMap) -> None:
        self.map = map_

    @property
    def frozen(self) -> bool:
        """Whether user space can no longer write to the map."""
        return self.map.frozen

    def failure(self, code: int, phase: Phase, detail: str = "") -> BpfError:
        """The exception for ``code`` on this map."""
        subject = repr(self.map.spec.name[:_NAME_BYTES])
        if code == errno.EPERM:
            found = "the map is frozen" if self.frozen else "its flags do not allow it"
            return PermissionDenied(code, phase, subject, detail=detail or found)
        if code in (ENOTSUPP, errno.EOPNOTSUPP):
            return NotSupported(code, phase, subject, detail=detail)
        return BpfError(code, phase, subject, detail=detail)

    def check_writable(self, phase: Phase) -> None:
        """Raise ``PermissionDenied`` where user space may not write."""
        if self.frozen or self.map.spec.flags & MapCreateFlag.RDONLY:
            raise self.failure(errno.EPERM, phase)

    def _check_read(self, phase: Phase) -> None:
        if self.map.spec.flags & MapCreateFlag.WRONLY:
            raise self.failure(errno.EPERM, phase)

    def lookup(self, key: bytes | None, *, delete: bool = False, flags: int = 0) -> bytes | None:
        """The value of ``key``, or ``None`` if there is none. Raises ``BpfError``."""
        self._check_read(Phase.MAP_LOOKUP)
        if delete:
            self.check_writable(Phase.MAP_LOOKUP)
        if flags:
            # Only BPF_F_LOCK is a flag of lookups, and no value here has a lock.
            raise self.failure(errno.EINVAL, Phase.MAP_LOOKUP)
        result = self.map.take(key) if delete else self.map.read(key)
        if isinstance(result, bytes):
            return result
        if result == -errno.ENOENT:
            return None
        raise self.failure(-result, Phase.MAP_LOOKUP)

    def update(self, key: bytes | None, value: bytes, flags: int = 0) -> None:
        """Set an element. Raises ``BpfError``."""
        self.check_writable(Phase.MAP_UPDATE)
        result = self.map.write(key, value, flags)
        if result < 0:
            raise self.failure(-result, Phase.MAP_UPDATE)

    def delete(self, key: bytes) -> bool:
        """Take an element out; whether it was there. Raises ``BpfError``."""
        self.check_writable(Phase.MAP_DELETE)
        result = self.map.remove(key)
        if result < 0 and result != -errno.ENOENT:
            raise self.failure(-result, Phase.MAP_DELETE)
        return result >= 0

    def next_key(self, key: bytes | None) -> bytes | None:
        """The key after ``key``, or the first one; ``None`` at the end. Raises ``BpfError``."""
        self._check_read(Phase.MAP_ITERATE)
        result = self.map.next_key(key)
        if isinstance(result, bytes):
            return result
        if result == -errno.ENOENT:
            return None
        raise self.failure(-result, Phase.MAP_ITERATE)

    def walk(self) -> Iterator[bytes]:
        """Every key that is there now, once."""
        self._check_read(Phase.MAP_ITERATE)
        yield from list(self.map.keys())

    def batches(self, *, delete: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Every key with its value; hash tables only, as arrays are walked just as fast here. Raises ``NoBatch``."""
        if delete:
            self.check_writable(Phase.MAP_ITERATE)
        if not isinstance(self.map, HashMap):
            raise NoBatch
        for key in self.walk():
            value = self.lookup(key, delete=delete)
            if value is not None:
                yield key, value

    def update_many(self, pairs: Sequence[tuple[bytes, bytes]], flags: int = 0) -> None:
        """Set many elements. Those before a failing one are set."""
        for done, (key, value) in enumerate(pairs):
            self.check_writable(Phase.MAP_UPDATE)
            result = self.map.write(key, value, flags)
            if result < 0:
                detail = f"after {done} of {len(pairs)} elements"
                raise self.failure(-result, Phase.MAP_UPDATE, detail)

    def delete_many(self, keys: Iterable[bytes]) -> int:
        """Take many elements out; how many were there."""
        return sum(self.delete(key) for key in keys)


@dataclass(frozen=True, slots=True)
class ObjectCodec:
    """Values that go in as objects of the machine and come out as numbers, as descriptors and ids do in the kernel."""

    map: ObjectArray | HashOfMaps
    size: int

    def encode(self, value: Any) -> bytes:
        """The number of a program, a map or a socket."""
        if isinstance(value, Map):
            value = machine_map(value)
        return self.map.number_of(value).to_bytes(self.size, sys.byteorder)

    def decode(self, data: Buffer, offset: int = 0) -> int:
        """The number."""
        return int.from_bytes(data[offset : offset + self.size], sys.byteorder)


class MachineBacking:
    """``backing.Backing`` over a map of the machine. Closing it closes this view of the map, not the map."""

    def __init__(self, map_: MachineMap) -> None:
        self.map = map_
        self.closed = False
        spec = map_.spec
        size = spec.max_entries
        if isinstance(map_, RingMap):
            size = map_.size
        elif isinstance(map_, PerfMap):
            size = map_.entries
        # The kernel forgets those that restrict a descriptor.
        flags = int(spec.flags) & ~int(MapCreateFlag.RDONLY | MapCreateFlag.WRONLY)
        extra = spec.map_extra
        name = spec.name[:_NAME_BYTES]
        self.facts = MapFacts(
            map_.address, spec.type, name, spec.key_size, spec.value_size, size, flags, extra, 0, 0, 0
        )

    @property
    def handle(self) -> Fd:
        """Raises ``NotInKernel``."""
        raise NotInKernel(
            f"the map {self.facts.name!r} lives in the built-in machine, not in the kernel: it has no descriptor"
        )

    @property
    def cpus(self) -> int:
        """As the machine's environment says."""
        return self.map.environment.cpus

    def info(self) -> MapFacts:
        """The facts; ``id`` is the map's address."""
        return self.facts

    def elements(self, value_bytes: int) -> ElementAccess:
        """Access to the elements."""
        return self.map.elements

    def records(self) -> RecordSource:
        """The consumer of a ring buffer."""
        assert isinstance(self.map, RingMap)
        from pyebpf.runtime.vm.records import MachineRecords

        return MachineRecords(self.map)

    def perf_records(self, pages: int, wakeup: int) -> RecordSource:
        """The consumer of a perf event array; it is woken at every record."""
        from pyebpf.runtime.vm.records import MachineRecords

        assert isinstance(self.map, PerfMap)
        self.map.open(pages)
        return MachineRecords(self.map)

    def freeze(self) -> None:
        """Forbid user space to write. Raises ``PermissionDenied`` where it cannot anyhow."""
        self.map.elements.check_writable(Phase.MAP_FREEZE)
        self.map.frozen = True

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Raises ``NotInKernel``."""
        raise NotInKernel(
            f"the map {self.facts.name!r} lives in the built-in machine: it cannot be pinned to {path}"
        )

    def close(self) -> None:
        """The map itself stays as long as somebody uses it."""
        self.closed = True


def machine_map(view: Map) -> MachineMap:
    """The machine's map behind what ``present_map`` gave. Raises ``TypeError`` for a map of the kernel."""
    backing = view.backing
    if not isinstance(backing, MachineBacking):
        raise TypeError(f"the map {view.name!r} is one of the kernel, not of the built-in machine")
    return backing.map


def present_map(map_: MachineMap) -> Map:
    """The map as Python sees it, with the layouts of its ``MapSpec``."""
    spec = map_.spec
    key = spec.key if spec.key is not None else layout_of(spec.key_type)
    value = spec.value if spec.value is not None else layout_of(spec.value_type)
    values = ObjectCodec(map_, spec.value_size) if isinstance(map_, ObjectArray | HashOfMaps) else None
    return present(MachineBacking(map_), key, value, values)
