"""Integers, structs, arrays and byte strings as CPython sees them: views of bytes with C's layout.

Values that come out are Python's integers. What is stored in a place keeps the bits that the place holds; everything
else is as CPython computes it. Written without the compiler's layouts, which it is compared with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar, cast


class Kind(Protocol):
    """What lies in memory: how large it is, how it is read and written."""

    @property
    def size(self) -> int:
        """In bytes."""
        ...

    @property
    def align(self) -> int:
        """In bytes."""
        ...

    def load(self, memory: bytearray, offset: int) -> Any:
        """The value there: an integer, or a view of it."""
        ...

    def store(self, memory: bytearray, offset: int, value: Any) -> None:
        """Write a value: the low bits of an integer, a copy of anything else."""
        ...


@dataclass(frozen=True, slots=True)
class Integer:
    """``u8`` … ``i64``, ``be16`` …: as a type, and called as a conversion that keeps the low bits."""

    bits: int
    signed: bool = False
    big: bool = False

    @property
    def size(self) -> int:
        """In bytes."""
        return self.bits // 8

    @property
    def align(self) -> int:
        """In bytes."""
        return self.bits // 8

    def __call__(self, value: int) -> int:
        low = int(value) & ((1 << self.bits) - 1)
        return low - (1 << self.bits) if self.signed and low >> (self.bits - 1) else low

    def load(self, memory: bytearray, offset: int) -> int:
        """The integer there."""
        data = memory[offset : offset + self.size]
        return int.from_bytes(data, "big" if self.big else "little", signed=self.signed)

    def store(self, memory: bytearray, offset: int, value: int) -> None:
        """Its low bits."""
        low = int(value) & ((1 << self.bits) - 1)
        memory[offset : offset + self.size] = low.to_bytes(self.size, "big" if self.big else "little")


class View:
    """Something with parts, that lies in memory; several may lie in the same place."""

    size: int

    def __init__(self, memory: bytearray, offset: int) -> None:
        self._memory = memory
        self._offset = offset

    def __bytes__(self) -> bytes:
        return bytes(self._memory[self._offset : self._offset + self.size])


V = TypeVar("V", bound=View)


def _copy_in(memory: bytearray, offset: int, size: int, value: View | bytes) -> None:
    """A shorter value is filled up with zeros."""
    memory[offset : offset + size] = bytes(value)[:size].ljust(size, b"\0")


@dataclass(frozen=True, slots=True)
class ArrayKind:
    """``length`` elements of one kind."""

    element: Kind
    length: int

    @property
    def size(self) -> int:
        """In bytes."""
        return self.element.size * self.length

    @property
    def align(self) -> int:
        """In bytes."""
        return self.element.align

    def load(self, memory: bytearray, offset: int) -> Array:
        """A view."""
        return Array(memory, offset, self)

    def store(self, memory: bytearray, offset: int, value: Array) -> None:
        """A copy."""
        _copy_in(memory, offset, self.size, value)


def _inside(index: int, length: int) -> int:
    """The index from the start. Raises ``IndexError`` as a list does."""
    return range(length)[index]


class Array(View):
    """Elements of one kind. Slices are views."""

    def __init__(self, memory: bytearray, offset: int, kind: ArrayKind) -> None:
        super().__init__(memory, offset)
        self.kind = kind
        self.size = kind.size

    def __len__(self) -> int:
        return self.kind.length

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def _place(self, index: int) -> int:
        return self._offset + _inside(index, len(self)) * self.kind.element.size

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            places = range(len(self))[index]
            part = ArrayKind(self.kind.element, len(places))
            return Array(self._memory, self._offset + places.start * self.kind.element.size, part)
        return self.kind.element.load(self._memory, self._place(index))

    def __setitem__(self, index: int, value: Any) -> None:
        self.kind.element.store(self._memory, self._place(index), value)


@dataclass(frozen=True, slots=True)
class TextKind:
    """A byte string of at most ``size`` bytes."""

    size: int
    align: int = 1

    def load(self, memory: bytearray, offset: int) -> Text:
        """A view."""
        return Text(memory, offset, self.size)

    def store(self, memory: bytearray, offset: int, value: Text | bytes) -> None:
        """A copy."""
        _copy_in(memory, offset, self.size, value)


class Text(View):
    """A byte string in memory of fixed size: a NUL ends it, indexes reach all of it."""

    def __init__(self, memory: bytearray, offset: int, size: int) -> None:
        super().__init__(memory, offset)
        self.size = size

    def __len__(self) -> int:
        return len(bytes(self).split(b"\0", 1)[0])

    def __iter__(self) -> Iterator[int]:
        return (self[i] for i in range(self.size))

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            places = range(self.size)[index]
            return Text(self._memory, self._offset + places.start, len(places))
        return self._memory[self._offset + _inside(index, self.size)]

    def __setitem__(self, index: int, value: int) -> None:
        self._memory[self._offset + _inside(index, self.size)] = value & 0xFF

    def __eq__(self, other: object) -> bool:
        if isinstance(other, bytes):
            if len(other) > self.size:
                return False
            return bytes(self)[: len(other) + 1] == (other + b"\0")[: self.size]
        if not isinstance(other, Text):
            return NotImplemented
        short, long = sorted((bytes(self), bytes(other)), key=len)
        return long[: len(short)] == short and (len(long) == len(short) or long[len(short)] == 0)

    def __hash__(self) -> int:
        raise TypeError("byte strings in memory can change")

    def startswith(self, prefix: bytes) -> bool:
        """Whether it begins with ``prefix``."""
        return bytes(self).startswith(prefix)


class Struct(View):
    """The base of the classes that ``struct`` and ``union`` make."""

    fields: ClassVar[Mapping[str, tuple[int, Kind]]] = {}
    align: ClassVar[int] = 1

    def __init__(self, *given: Any, **values: Any) -> None:
        super().__init__(bytearray(self.size), 0)
        for name, value in [*zip(self.fields, given, strict=False), *values.items()]:
            setattr(self, name, value)

    def __init_subclass__(cls) -> None:
        for name, (offset, kind) in cls.fields.items():
            setattr(cls, name, _field(offset, kind))

    @classmethod
    def load(cls, memory: bytearray, offset: int) -> Struct:
        """A view."""
        self = cls.__new__(cls)
        View.__init__(self, memory, offset)
        return self

    @classmethod
    def store(cls, memory: bytearray, offset: int, value: Struct) -> None:
        """A copy."""
        _copy_in(memory, offset, cls.size, value)


def _field(offset: int, kind: Kind) -> property:
    def get(self: Struct) -> Any:
        return kind.load(self._memory, self._offset + offset)

    def put(self: Struct, value: Any) -> None:
        kind.store(self._memory, self._offset + offset, value)

    return property(get, put)


def make_struct(name: str, members: Mapping[str, Kind], *, packed: bool, union: bool) -> type[Struct]:
    """A class with these fields, laid out as C does."""
    fields: dict[str, tuple[int, Kind]] = {}
    end, align = 0, 1
    for member, kind in members.items():
        own = 1 if packed else kind.align
        at = 0 if union else -(-end // own) * own
        fields[member] = (at, kind)
        end, align = max(end, at + kind.size), max(align, own)
    return type(name, (Struct,), {"fields": fields, "size": -(-end // align) * align, "align": align})


def kind_of(value: View) -> Kind:
    """What a view is a view of."""
    match value:
        case Array():
            return value.kind
        case Text():
            return TextKind(value.size)
        case _:
            return cast("Kind", type(value))


def copy_of(value: V) -> V:
    """The same contents in memory of its own."""
    return cast("V", kind_of(value).load(bytearray(bytes(value)), 0))
