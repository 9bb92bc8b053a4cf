"""Maps as Python sees them: typed mappings over raw elements, one class per family of map types.

Integers, bytes, tuples and frozen structs come out, encoded and decoded by ``map_codec``. Where the elements live, in
the kernel or in the built-in machine, is the business of ``backing``. ``map_kinds`` picks the class. Here are the
plain mappings; queues and maps of descriptors are in ``map_kinds``, ring buffers in ``events``.
"""

from __future__ import annotations

import errno
import functools
import operator
import os
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, ValuesView
from collections.abc import Mapping as AbstractMapping
from types import TracebackType

from pyebpf.hints import TYPE_CHECKING, Any, cast
from pyebpf.runtime.backing import Backing, MapFacts, NoBatch
from pyebpf.runtime.errors import ENOTSUPP, BpfError
from pyebpf.runtime.map_codec import Codec
from pyebpf.uapi.constants import MapUpdateFlag

if TYPE_CHECKING:
    from typing import Final, Self

    from pyebpf.runtime.fd import Fd

_MISSING: Final = object()


class Map:
    """A map: what all types have in common. It owns what it works on (``backing``).

    ``elements`` gives access to raw bytes. ``name``: the kernel's (15 bytes). ``key`` and ``value``: the codecs. A map
    closes at the end of a ``with``, by ``close`` or by the garbage collector; the kernel keeps it while programs, pins
    or others use it.
    """

    def __init__(self, backing: Backing, key: Codec, value: Codec) -> None:
        facts = backing.facts
        self.backing = backing
        self.type = facts.type
        self.name = facts.name
        self.key_size = facts.key_size
        self.value_size = facts.value_size
        self.max_entries = facts.max_entries
        self.flags = facts.flags
        self._key = key
        self._value = value
        self.elements = backing.elements(value.size)

    @property
    def handle(self) -> Fd:
        """The owned descriptor. Raises ``NotInKernel`` for a map of the built-in machine."""
        return self.backing.handle

    @property
    def fd(self) -> int:
        """The descriptor's number. Raises ``ValueError`` after ``close``, ``NotInKernel`` for a map of the built-in
        machine."""
        return self.handle.fileno()

    def fileno(self) -> int:
        """As ``fd``, for ``select`` and the like."""
        return self.handle.fileno()

    def info(self) -> MapFacts:
        """What the kernel says about the map."""
        return self.backing.info()

    @property
    def frozen(self) -> bool:
        """Whether user space can no longer write to it."""
        return self.elements.frozen

    def freeze(self) -> None:
        """Forbid user space to write to the map from now on. Raises ``BpfError``; EBUSY while it is
        memory-mapped."""
        self.backing.freeze()

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Give it a name in bpffs, which keeps it when this process ends. ``os.unlink`` takes it away
        again."""
        self.backing.pin(path)

    def close(self) -> None:
        """Give it up; again is harmless."""
        self.backing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self.backing.closed else ""
        return f"<{type(self).__name__} {self.name!r} {self.type.name}, {self.max_entries} entries{state}>"


class _Items(ItemsView[Any, Any]):
    _mapping: MappingMap

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return self._mapping.pairs()


class _Values(ValuesView[Any]):
    _mapping: MappingMap

    def __iter__(self) -> Iterator[Any]:
        return (value for _, value in self._mapping.pairs())


class MappingMap(Map, AbstractMapping[Any, Any]):
    """A map with keys and values, as a Python mapping.

    Iteration gives every element that stays once, even while programs insert and delete; values are read in
    batches where the kernel can. Two maps are equal only if they are the same object.
    """

    __hash__ = object.__hash__
    __eq__ = object.__eq__

    def __getitem__(self, key: Any) -> Any:
        """The value of ``key``. Raises ``KeyError`` if there is none."""
        data = self.elements.lookup(self._key.encode(key))
        if data is None:
            raise KeyError(key)
        return self._value.decode(data)

    def __contains__(self, key: object) -> bool:
        return self.elements.lookup(self._key.encode(key)) is not None

    def __setitem__(self, key: Any, value: Any) -> None:
        self.update(key, value)

    def __delitem__(self, key: Any) -> None:
        """Take ``key`` out. Raises ``KeyError`` if it is not there."""
        if not self.elements.delete(self._key.encode(key)):
            raise KeyError(key)

    def __iter__(self) -> Iterator[Any]:
        decode = self._key.decode
        return (decode(key) for key, _ in self._raw_pairs())

    def __len__(self) -> int:
        """The number of elements, found by counting."""
        return sum(1 for _ in self._raw_pairs())

    def __bool__(self) -> bool:
        """True, as for other objects: an empty map is still a map."""
        return True

    def keys(self) -> KeysView[Any]:
        """The keys."""
        return KeysView(self)

    def items(self) -> ItemsView[Any, Any]:
        """The pairs of key and value."""
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        """The values."""
        return _Values(self)

    def pairs(self) -> Iterator[tuple[Any, Any]]:
        """What ``items`` iterates over: a few hundred elements per system call where the kernel can."""
        key, value = self._key.decode, self._value.decode
        return ((key(k), value(v)) for k, v in self._raw_pairs())

    def _raw_pairs(self) -> Iterator[tuple[bytes, bytes]]:
        try:
            yield from self.elements.batches()
        except NoBatch:
            yield from self._walk_pairs()

    def _walk_pairs(self) -> Iterator[tuple[bytes, bytes]]:
        for key in self.elements.walk():
            value = self.elements.lookup(key)
            if value is not None:
                yield key, value

    def update(self, key: Any, value: Any, flags: int = MapUpdateFlag.ANY) -> None:
        """Set ``key`` to ``value``. ``flags``: ``NOEXIST`` only inserts, ``EXIST`` only replaces.

        Raises ``BpfError`` with errno EEXIST or ENOENT by the flags, E2BIG if the map is full.
        """
        self.elements.update(self._key.encode(key), self._value.encode(value), flags)

    def update_many(
        self, pairs: AbstractMapping[Any, Any] | Iterable[tuple[Any, Any]], flags: int = MapUpdateFlag.ANY
    ) -> None:
        """``update`` for many, in one system call where the kernel can. Not atomic: those before a failing
        one are set, and the error says how many."""
        given = pairs.items() if isinstance(pairs, AbstractMapping) else pairs
        encoded = [(self._key.encode(key), self._value.encode(value)) for key, value in given]
        self.elements.update_many(encoded, flags)

    def delete_many(self, keys: Iterable[Any]) -> int:
        """Take many keys out; how many were there."""
        return self.elements.delete_many(self._key.encode(key) for key in keys)

    def pop(self, key: Any, default: Any = _MISSING) -> Any:
        """Take ``key`` out and return its value; ``default`` if it is not there, else raise ``KeyError``.

        One step for hash maps from Linux 5.14; otherwise a lookup and a delete, between which a program may
        write.
        """
        encoded = self._key.encode(key)
        try:
            data = self.elements.lookup(encoded, delete=True)
        except BpfError as error:
            if error.errno not in (ENOTSUPP, errno.EOPNOTSUPP, errno.EINVAL):
                raise
            data = self.elements.lookup(encoded)
            if data is not None and not self.elements.delete(encoded):
                data = None
        if data is not None:
            return self._value.decode(data)
        if default is _MISSING:
            raise KeyError(key)
        return default

    def drain(self) -> Iterator[tuple[Any, Any]]:
        """Take every element out and give the pairs."""
        try:
            for key, value in self.elements.batches(delete=True):
                yield self._key.decode(key), self._value.decode(value)
        except NoBatch:
            for key in list(self):
                value = self.pop(key, _MISSING)
                if value is not _MISSING:
                    yield key, value

    def clear(self) -> None:
        """Take every element out."""
        for _ in self.drain():
            pass


class HashMap(MappingMap):
    """HASH, LRU_HASH and other maps whose elements come and go."""


class LpmTrie(MappingMap):
    """LPM_TRIE: a lookup finds the longest prefix of the key; the key starts with the prefix length in
    bits."""

    def _raw_pairs(self) -> Iterator[tuple[bytes, bytes]]:
        # The batch operation of this type goes from key to key, so a deletion sends it back to the start.
        return self._walk_pairs()


class ArrayMap(MappingMap):
    """ARRAY: every index from 0 to ``max_entries`` - 1 is always there."""

    def __len__(self) -> int:
        return self.max_entries

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.max_entries))

    def __contains__(self, key: object) -> bool:
        return hasattr(type(key), "__index__") and 0 <= operator.index(cast("int", key)) < self.max_entries

    def __getitem__(self, key: Any) -> Any:
        """The value at an index. Raises ``KeyError`` outside the array."""
        if key not in self:
            raise KeyError(key)
        return super().__getitem__(key)

    def update(self, key: Any, value: Any, flags: int = MapUpdateFlag.ANY) -> None:
        """Set an element. Raises ``KeyError`` outside the array, ``BpfError`` otherwise."""
        if key not in self:
            raise KeyError(key)
        super().update(key, value, flags)

    def _fixed(self) -> TypeError:
        return TypeError(f"the elements of the array {self.name!r} cannot be deleted, only set")

    def __delitem__(self, key: Any) -> None:
        raise self._fixed()

    def pop(self, key: Any, default: Any = _MISSING) -> Any:
        """Refused: raises ``TypeError``."""
        raise self._fixed()

    def delete_many(self, keys: Iterable[Any]) -> int:
        """Refused: raises ``TypeError``."""
        raise self._fixed()

    def drain(self) -> Iterator[tuple[Any, Any]]:
        """Refused: raises ``TypeError``."""
        raise self._fixed()

    def clear(self) -> None:
        """Set every byte of every element to zero."""
        zero = bytes(self._value.size)
        keys = (self._key.encode(index) for index in range(self.max_entries))
        self.elements.update_many([(key, zero) for key in keys])


class _PerCpu(MappingMap):
    """Reductions of per-CPU values."""

    def sum(self, key: Any) -> Any:
        """The sum over all CPUs of the value of ``key``, an integer. Raises ``KeyError``."""
        return sum(self[key])

    def sums(self) -> dict[Any, Any]:
        """The sums over all CPUs, by key."""
        return {key: sum(values) for key, values in self.pairs()}

    def reduce(self, key: Any, function: Callable[[Any, Any], Any]) -> Any:
        """The values of all CPUs of ``key`` put together by ``function``, as ``functools.reduce`` does."""
        return functools.reduce(function, self[key])


class PerCpuHash(_PerCpu, HashMap):
    """PERCPU_HASH and LRU_PERCPU_HASH: a value is a tuple with one entry for each possible CPU."""


class PerCpuArray(_PerCpu, ArrayMap):
    """PERCPU_ARRAY: a value is a tuple with one entry for each possible CPU."""
