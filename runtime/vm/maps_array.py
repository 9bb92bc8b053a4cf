"""Arrays: of values, of programs, of sockets, of maps. Source: kernel/bpf/arraymap.c, net/core/sock_map.c."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator

from pyebpf.object import MapSpec
from pyebpf.runtime.vm.environment import Environment
from pyebpf.runtime.vm.maps import MachineMap, Values, refuse
from pyebpf.runtime.vm.memory import Memory
from pyebpf.uapi.constants import MapType, MapUpdateFlag


def index_of(key: bytes) -> int:
    """The index in a key."""
    return int.from_bytes(key, sys.byteorder)


def check_array(spec: MapSpec) -> None:
    """Raise what the kernel answers to sizes that no array has."""
    if spec.key_size != 4:
        raise refuse(spec, f"the key of an array has 4 bytes, not {spec.key_size}")
    if spec.max_entries < 1 or spec.value_size < 1:
        raise refuse(spec, "an array needs entries and a value")


class ArrayMap(MachineMap):
    """ARRAY and PERCPU_ARRAY: every element is there, zero at first. Memory is made when one is first used."""

    def __init__(self, spec: MapSpec, memory: Memory, environment: Environment) -> None:
        check_array(spec)
        super().__init__(spec, memory, environment)
        self._used: dict[bytes, Values] = {}
        self._addresses: dict[bytes, int] = {}

    def _values(self, key: bytes) -> Values | None:
        values = self._used.get(key)
        if values is None and index_of(key) < self.spec.max_entries:
            values = self._used[key] = self.new_values()
        return values

    def lookup(self, key: bytes) -> int:
        """The address of the value at an index; 0 outside."""
        address = self._addresses.get(key)
        if address is not None:
            return address
        values = self._values(key)
        if values is None:
            return 0
        address = self.here(values)
        if self.copies == 1:
            self._addresses[key] = address
        return address

    def lookup_on(self, key: bytes, cpu: int) -> int:
        """The address of the value of ``cpu``; 0 outside."""
        if self.spec.type is not MapType.PERCPU_ARRAY:
            raise self.refusal("looked up by CPU")
        values = self._values(key) if cpu < self.copies else None
        return values[cpu].address if values is not None else 0

    def _flags(self, key: bytes, flags: int) -> int:
        """No value here has a lock, so the flag LOCK is refused, but last."""
        if flags & ~int(MapUpdateFlag.LOCK) > MapUpdateFlag.EXIST:
            return -errno.EINVAL
        if index_of(key) >= self.spec.max_entries:
            return -errno.E2BIG
        if flags & MapUpdateFlag.NOEXIST:
            return -errno.EEXIST
        return -errno.EINVAL if flags & MapUpdateFlag.LOCK else 0

    def update(self, key: bytes, value: bytes, flags: int) -> int:
        """EINVAL for other flags, E2BIG outside, EEXIST with NOEXIST."""
        refused = self._flags(key, flags)
        values = self._values(key)
        if refused or values is None:
            return refused
        self.set_here(values, value)
        return 0

    def delete(self, key: bytes) -> int:
        """EINVAL: elements of arrays stay."""
        return -errno.EINVAL

    def visit(self) -> Iterator[tuple[bytes, int]]:
        """By index."""
        for key in self.keys():
            yield key, self.lookup(key)

    def read(self, key: bytes | None) -> bytes | int:
        """ENOENT outside."""
        assert key is not None
        values = self._used.get(key)
        if values is not None:
            return self.joined(values)
        return bytes(self.value_bytes) if index_of(key) < self.spec.max_entries else -errno.ENOENT

    def write(self, key: bytes | None, value: bytes, flags: int) -> int:
        """As ``update``, but for all CPUs."""
        assert key is not None
        refused = -errno.EINVAL if flags & MapUpdateFlag.LOCK else self._flags(key, flags)
        values = self._values(key)
        if refused or values is None:
            return refused
        self.set_all(values, value)
        return 0

    def keys(self) -> Iterator[bytes]:
        """By index."""
        return (index.to_bytes(4, sys.byteorder) for index in range(self.spec.max_entries))

    def next_key(self, key: bytes | None) -> bytes | int:
        """The next index; the first one after what is outside."""
        index = self.spec.max_entries if key is None else index_of(key)
        if index == self.spec.max_entries - 1:
            return -errno.ENOENT
        return (index + 1 if index < self.spec.max_entries else 0).to_bytes(4, sys.byteorder)

    def close(self) -> None:
        """Give all memory back."""
        for values in self._used.values():
            self.bury(values)
        self._used.clear()
        self._addresses.clear()


class ObjectArray(MachineMap):
    """An array of objects that are no memory. User space gives an object a number (``number_of``) and sets that."""

    def __init__(self, spec: MapSpec, memory: Memory, environment: Environment) -> None:
        check_array(spec)
        super().__init__(spec, memory, environment)
        self._objects: dict[int, object] = {}
        self._numbers: dict[int, object] = {}

    def number_of(self, value: object) -> int:
        """A number that stands for ``value`` in this map, as a descriptor or an id does in the kernel."""
        for number, known in self._numbers.items():
            if known is value:
                return number
        number = len(self._numbers) + 1
        self._numbers[number] = value
        return number

    def object_at(self, index: int) -> object | None:
        """What is in a slot."""
        return self._objects.get(index)

    def read(self, key: bytes | None) -> bytes | int:
        """The number of the object, ENOENT for an empty slot."""
        assert key is not None
        found = self._objects.get(index_of(key))
        if found is None:
            return -errno.ENOENT
        return self.number_of(found).to_bytes(self.spec.value_size, sys.byteorder)

    def write(self, key: bytes | None, value: bytes, flags: int) -> int:
        """Only BPF_ANY; E2BIG outside, EBADF for a number that stands for nothing."""
        assert key is not None
        if flags != MapUpdateFlag.ANY:
            return -errno.EINVAL
        if index_of(key) >= self.spec.max_entries:
            return -errno.E2BIG
        found = self._numbers.get(index_of(value))
        if found is None:
            return -errno.EBADF
        self._objects[index_of(key)] = found
        return 0

    def remove(self, key: bytes) -> int:
        """ENOENT for an empty slot, E2BIG outside."""
        if index_of(key) >= self.spec.max_entries:
            return -errno.E2BIG
        return 0 if self._objects.pop(index_of(key), None) is not None else -errno.ENOENT

    def keys(self) -> Iterator[bytes]:
        """By index, empty slots too."""
        return (index.to_bytes(4, sys.byteorder) for index in range(self.spec.max_entries))

    def close(self) -> None:
        """Let the objects go."""
        self._objects.clear()
        self._numbers.clear()


class ProgArray(ObjectArray):
    """PROG_ARRAY: for tail calls."""

    def program(self, index: int) -> object | None:
        """The program in a slot, as user space put it in."""
        return self.object_at(index)


class SockArray(ObjectArray):
    """SOCKMAP: sockets by index, for verdicts; the machine delivers nothing."""

    def remove(self, key: bytes) -> int:
        """EINVAL for an empty slot and outside."""
        return 0 if self._objects.pop(index_of(key), None) is not None else -errno.EINVAL


class MapArray(ObjectArray):
    """ARRAY_OF_MAPS: a lookup gives the inner map's address."""

    HOLDS_MAPS = True

    def lookup(self, key: bytes) -> int:
        """The address of the inner map; 0 for an empty slot."""
        found = self._objects.get(index_of(key))
        return found.address if isinstance(found, MachineMap) else 0

    def inner(self, address: int) -> MachineMap | None:
        """The inner map at ``address``."""
        return next(
            (m for m in self._objects.values() if isinstance(m, MachineMap) and m.address == address), None
        )
