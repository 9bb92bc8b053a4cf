"""Maps as CPython sees them: mappings with Python's errors, whose methods give the kernel's error numbers.

Values lie in memory of their own, so that a struct in a map is changed in place. One CPU.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from tests.differential.cpython.storage import Integer, Kind, View

NOEXIST, EXIST = 1, 2


class Unpredictable(Exception):
    """CPython cannot know what the kernel does here."""


class OSErrorWithNumber(OSError):
    """What programs know as ``OSError``: the only argument of ``OSError(7)`` is the number, which in CPython it is not."""

    def __init__(self, number: int = 0, *rest: object) -> None:
        super().__init__(number, *(rest or ("",)))


def _raise(number: int) -> None:
    if number < 0:
        raise OSErrorWithNumber(-number)


class _Typed:
    """What is made by ``Map[K, V](…)``."""

    types: tuple[Any, ...] = ()

    def __class_getitem__(cls, types: Any) -> type[Self]:
        return type(cls.__name__, (cls,), {"types": types if isinstance(types, tuple) else (types,)})


class Table(_Typed):
    """What all maps with keys share: hash maps need no more."""

    def __init__(self, max_entries: int, default: int | None = None) -> None:
        self.key: Kind
        self.value: Kind
        self.key, self.value = self.types
        self.max_entries = max_entries
        self.default = default
        self.contents: dict[bytes, bytearray] = {}

    # ------------------------------------------------------------ what kinds of maps differ in

    def _find(self, key: bytes) -> bytearray | None:
        return self.contents.get(key)

    def _put(self, key: bytes, value: bytearray, flags: int) -> int:
        there = key in self.contents
        if (there and flags == NOEXIST) or (not there and flags == EXIST):
            return -errno.EEXIST if there else -errno.ENOENT
        if not there and len(self.contents) >= self.max_entries:
            return -errno.E2BIG
        self.contents[key] = value
        return 0

    def _remove(self, key: bytes) -> int:
        return 0 if self.contents.pop(key, None) is not None else -errno.ENOENT

    # ------------------------------------------------------------ what programs do

    def _key(self, key: Any) -> bytes:
        return _packed(self.key, key)

    def __getitem__(self, key: Any) -> Any:
        found = self._find(self._key(key))
        if found is None and self.default is not None:
            _raise(self.update(key, self.default, NOEXIST))
            found = self._find(self._key(key))
        if found is None:
            raise KeyError(key)
        return self.value.load(found, 0)

    def __setitem__(self, key: Any, value: Any) -> None:
        _raise(self.update(key, value))

    def __delitem__(self, key: Any) -> None:
        if self.delete(key):
            raise KeyError(key)

    def __contains__(self, key: Any) -> bool:
        return self._find(self._key(key)) is not None

    def get(self, key: Any, default: Any = None) -> Any:
        """The value, or ``default``."""
        found = self._find(self._key(key))
        return default if found is None else self.value.load(found, 0)

    def update(self, key: Any, value: Any, flags: int = 0) -> int:
        """0 or a negative error number."""
        return self._put(self._key(key), bytearray(_packed(self.value, value)), flags)

    def delete(self, key: Any) -> int:
        """0 or a negative error number."""
        return self._remove(self._key(key))

    def elements(self) -> Iterator[tuple[Any, Any]]:
        """Keys and values as a program sees them."""
        for key, value in list(self.contents.items()):
            yield self.key.load(bytearray(key), 0), self.value.load(value, 0)

    def left(self) -> dict[bytes, bytes]:
        """The contents."""
        return {key: bytes(value) for key, value in self.contents.items()}


def _packed(kind: Kind, value: Any) -> bytes:
    memory = bytearray(kind.size)
    kind.store(memory, 0, value)
    return bytes(memory)


class ArrayTable(Table):
    """Every index is there from the start; values stay in their place."""

    def __init__(self, max_entries: int) -> None:
        super().__init__(max_entries)
        for index in range(max_entries):
            self.contents[index.to_bytes(4, "little")] = bytearray(self.value.size)

    def _put(self, key: bytes, value: bytearray, flags: int) -> int:
        if key not in self.contents:
            return -errno.E2BIG
        if flags == NOEXIST:
            return -errno.EEXIST
        self.contents[key][:] = value
        return 0

    def _remove(self, key: bytes) -> int:
        return -errno.EINVAL


class LruTable(Table):
    """Throws something out when it is full; which, CPython does not know."""

    def _put(self, key: bytes, value: bytearray, flags: int) -> int:
        result = super()._put(key, value, flags)
        if result == -errno.E2BIG:
            raise Unpredictable("which key an LRU map throws out")
        return result


class Trie(Table):
    """The longest prefix that matches: the first 32 bits of a key are the length, then bits from the highest."""

    @staticmethod
    def _bits(key: bytes) -> tuple[int, str]:
        text = "".join(f"{byte:08b}" for byte in key[4:])
        length = int.from_bytes(key[:4], "little")
        return length, text[:length]

    def _find(self, key: bytes) -> bytearray | None:
        _, wanted = self._bits(key)
        prefixes = {self._bits(k)[1]: v for k, v in self.contents.items()}
        matching = [p for p in prefixes if wanted.startswith(p)]
        return prefixes[max(matching, key=len)] if matching else None

    def _same(self, key: bytes) -> bytes:
        return next((k for k in self.contents if self._bits(k) == self._bits(key)), key)

    def _put(self, key: bytes, value: bytearray, flags: int) -> int:
        if self._bits(key)[0] > 8 * (len(key) - 4):
            return -errno.EINVAL
        old = self._same(key)
        result = super()._put(old, value, flags)
        if not result and old != key:
            self.contents[key] = self.contents.pop(old)
        return result

    def _remove(self, key: bytes) -> int:
        return super()._remove(self._same(key))


class Programs:
    """``return progs[i](ctx)``."""

    def __init__(self, max_entries: int) -> None:
        self.slots: dict[int, Callable[[Any], int]] = {}

    def __getitem__(self, index: int) -> Callable[[Any], int]:
        return self.slots[index & 0xFFFFFFFF]


class QueueOf(_Typed):
    """First in, first out."""

    last_first = False

    def __init__(self, max_entries: int) -> None:
        (self.value,) = self.types
        self.max_entries = max_entries
        self.items: deque[Any] = deque()

    def push(self, value: Any, flags: int = 0) -> int:
        """0 or a negative error number."""
        if len(self.items) >= self.max_entries:
            if flags != EXIST:
                return -errno.E2BIG
            self.items.popleft()
        self.items.append(_packed(self.value, value))
        return 0

    def _load(self, data: bytes) -> Any:
        return self.value.load(bytearray(data), 0)

    def pop(self) -> Any:
        """The next one, removed. Raises ``IndexError`` when empty."""
        return self._load(self.items.pop() if self.last_first else self.items.popleft())

    def peek(self) -> Any:
        """The next one. Raises ``IndexError`` when empty."""
        return self._load(self.items[-1 if self.last_first else 0])

    def left(self) -> list[bytes]:
        """All items in the order in which they would be taken, which are taken."""
        values = [bytes(item) for item in self.items]
        self.items.clear()
        return values[::-1] if self.last_first else values


class StackOf(QueueOf):
    """Last in, first out."""

    last_first = True


class Ring:
    """A ring buffer: records in the order in which they were reserved."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.records: list[bytearray] = []

    def output(self, value: View, flags: int = 0) -> int:
        """Append a copy."""
        self.records.append(bytearray(bytes(value)))
        return 0

    @contextmanager
    def reserve(self, kind: Kind) -> Iterator[Any]:
        """A record made in place, which an exception takes back."""
        record = bytearray(kind.size)
        self.records.append(record)
        try:
            yield kind.load(record, 0)
        except Exception:
            self.records = [other for other in self.records if other is not record]
            raise

    def left(self) -> list[bytes]:
        """All records, which are taken."""
        found, self.records = [bytes(record) for record in self.records], []
        return found


class Variable(_Typed):
    """``Global`` and ``Const``."""

    def __init__(self, value: int = 0) -> None:
        (kind,) = self.types
        assert isinstance(kind, Integer)
        self.kind = kind
        self._value = kind(value)

    @property
    def value(self) -> int:
        """What it holds."""
        return self._value

    @value.setter
    def value(self, value: int) -> None:
        self._value = self.kind(value)

    def left(self) -> bytes:
        """The bytes that it has."""
        return _packed(self.kind, self._value)
