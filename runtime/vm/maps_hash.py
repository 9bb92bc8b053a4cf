"""Hash tables, with and without eviction. Source: kernel/bpf/hashtab.c.

Replacing a value makes a new element, as the kernel does: a pointer to the old value keeps the old bytes. Values of
per-CPU tables are replaced in place.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator

from pyebpf.object import MapSpec
from pyebpf.runtime.vm.environment import Environment
from pyebpf.runtime.vm.maps import MachineMap, Values, check_flags, refuse
from pyebpf.runtime.vm.maps_array import index_of
from pyebpf.runtime.vm.memory import Memory
from pyebpf.uapi.constants import MapType, MapUpdateFlag


def check_hash(spec: MapSpec) -> None:
    """Raise what the kernel answers to sizes that no hash table has."""
    if spec.max_entries < 1 or spec.key_size < 1 or spec.value_size < 1:
        raise refuse(spec, "a hash table needs entries, a key and a value")


class HashMap(MachineMap):
    """HASH and PERCPU_HASH, in the order of insertion (the kernel's order is that of a random hash)."""

    def __init__(self, spec: MapSpec, memory: Memory, environment: Environment) -> None:
        check_hash(spec)
        super().__init__(spec, memory, environment)
        self._elements: dict[bytes, Values] = {}

    def lookup(self, key: bytes) -> int:
        """The address of the value; 0 if there is none."""
        values = self._elements.get(key)
        return 0 if values is None else self.here(values)

    def lookup_on(self, key: bytes, cpu: int) -> int:
        """The address of the value of ``cpu``; 0 if there is none."""
        if self.spec.type not in (MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH):
            raise self.refusal("looked up by CPU")
        values = self._elements.get(key) if cpu < self.copies else None
        return 0 if values is None else values[cpu].address

    def _make_room(self) -> bool:
        """Whether another element fits."""
        return len(self._elements) < self.spec.max_entries

    def _element(self, key: bytes, flags: int) -> Values | int:
        """The element to write to, new where the type wants that; ``-errno`` if it must not be."""
        old = self._elements.get(key)
        refused = check_flags(flags, old is not None)
        if refused:
            return refused
        per_cpu = self.spec.type in (MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH)
        if old is not None:
            if per_cpu:
                return old
            self.bury(old)
        elif not self._make_room():
            return -errno.E2BIG
        values = self._elements[key] = self.new_values()
        return values

    def update(self, key: bytes, value: bytes, flags: int) -> int:
        """EINVAL, EEXIST, ENOENT by the flags; E2BIG if the table is full."""
        values = self._element(key, flags)
        if isinstance(values, int):
            return values
        self.set_here(values, value)
        return 0

    def delete(self, key: bytes) -> int:
        """ENOENT if it is not there."""
        values = self._elements.pop(key, None)
        if values is None:
            return -errno.ENOENT
        self.bury(values)
        return 0

    def visit(self) -> Iterator[tuple[bytes, int]]:
        """Those that were there at the start and still are."""
        for key in list(self._elements):
            values = self._elements.get(key)
            if values is not None:
                yield key, self.here(values)

    def read(self, key: bytes | None) -> bytes | int:
        """ENOENT if it is not there. Does not count as a use."""
        assert key is not None
        values = self._elements.get(key)
        return -errno.ENOENT if values is None else self.joined(values)

    def take(self, key: bytes | None) -> bytes | int:
        """ENOENT if it is not there."""
        found = self.read(key)
        if isinstance(found, bytes) and key is not None:
            self.delete(key)
        return found

    def write(self, key: bytes | None, value: bytes, flags: int) -> int:
        """As ``update``, but for all CPUs."""
        assert key is not None
        values = self._element(key, flags)
        if isinstance(values, int):
            return values
        self.set_all(values, value)
        return 0

    def keys(self) -> Iterator[bytes]:
        """In the order of insertion."""
        return iter(self._elements)

    def close(self) -> None:
        """Give all memory back."""
        for values in self._elements.values():
            self.bury(values)
        self._elements.clear()


class LruHashMap(HashMap):
    """LRU_HASH and LRU_PERCPU_HASH: a full table throws out the element that was used longest ago. The kernel's choice
    is an approximation of that."""

    def lookup(self, key: bytes) -> int:
        """The address of the value; 0 if there is none. A use."""
        values = self._elements.pop(key, None)
        if values is None:
            return 0
        self._elements[key] = values
        return self.here(values)

    def _make_room(self) -> bool:
        if not super()._make_room():
            self.delete(next(iter(self._elements)))
        return True

    def _element(self, key: bytes, flags: int) -> Values | int:
        values = super()._element(key, flags)
        if not isinstance(values, int):
            del self._elements[key]
            self._elements[key] = values
        return values


class HashOfMaps(MachineMap):
    """HASH_OF_MAPS: a lookup gives the inner map's address."""

    HOLDS_MAPS = True

    def __init__(self, spec: MapSpec, memory: Memory, environment: Environment) -> None:
        check_hash(spec)
        super().__init__(spec, memory, environment)
        self._inner: dict[bytes, MachineMap] = {}
        self._numbers: list[MachineMap] = []

    def number_of(self, value: object) -> int:
        """A number that stands for a map."""
        if not isinstance(value, MachineMap):
            raise TypeError(f"the values of {self.spec.name!r} are maps of the built-in machine")
        if value not in self._numbers:
            self._numbers.append(value)
        return self._numbers.index(value) + 1

    def lookup(self, key: bytes) -> int:
        """The address of the inner map; 0 if there is none."""
        found = self._inner.get(key)
        return 0 if found is None else found.address

    def inner(self, address: int) -> MachineMap | None:
        """The inner map at ``address``."""
        return next((m for m in self._inner.values() if m.address == address), None)

    def read(self, key: bytes | None) -> bytes | int:
        """The number of the inner map."""
        assert key is not None
        found = self._inner.get(key)
        return -errno.ENOENT if found is None else self.number_of(found).to_bytes(4, sys.byteorder)

    def write(self, key: bytes | None, value: bytes, flags: int) -> int:
        """As a hash table; EBADF for a number that stands for nothing."""
        assert key is not None
        number = index_of(value)
        if flags > MapUpdateFlag.EXIST:
            return -errno.EINVAL
        if not 1 <= number <= len(self._numbers):
            return -errno.EBADF
        refused = check_flags(flags, key in self._inner)
        if not refused and key not in self._inner and len(self._inner) >= self.spec.max_entries:
            refused = -errno.E2BIG
        if not refused:
            self._inner[key] = self._numbers[number - 1]
        return refused

    def remove(self, key: bytes) -> int:
        """ENOENT if it is not there."""
        return 0 if self._inner.pop(key, None) is not None else -errno.ENOENT

    def keys(self) -> Iterator[bytes]:
        """In the order of insertion."""
        return iter(self._inner)
