"""Between Python values and the bytes of map keys, map values, events and variables.

A codec is compiled once from a ``Layout`` (``codec_for``): one ``struct.Struct`` reads or writes all
scalars in one go, and a tree of small functions groups them. Integers are range-checked, never cut: where a
program's store keeps the low bits, user space writing 300 into a ``u8`` is a mistake.
"""

from __future__ import annotations

import functools
import keyword
import operator
import struct
import sys
from collections.abc import Callable, Mapping, Sequence

from pyebpf.hints import TYPE_CHECKING, Any, Protocol, cast
from pyebpf.layout import ArrayType, BytesType, IntType, Layout, Order, StructType
from pyebpf.records import dataclass

if TYPE_CHECKING:
    from typing import Final, Literal


_ORDER: Final = "<" if sys.byteorder == "little" else ">"
_INT_FORMATS: Final = {8: "b", 16: "h", 32: "i", 64: "q"}

Buffer = bytes | bytearray | memoryview


class Codec(Protocol):
    """Encodes and decodes values of ``size`` bytes."""

    @property
    def size(self) -> int:
        """Bytes of one value."""

    def encode(self, value: Any) -> bytes:
        """The bytes of ``value``. Raises ``TypeError`` or, for what does not fit,
        ``OverflowError``/``ValueError``."""

    def decode(self, data: Buffer, offset: int = 0) -> Any:
        """The value at byte ``offset`` of ``data``."""


class _UserStruct(Protocol):
    """What a class made by ``bpf.struct`` has for user space."""

    def _from_values(self, **members: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class RawCodec:
    """Bytes as they are, for maps whose layout is not known."""

    size: int

    def encode(self, value: Any) -> bytes:
        """``value`` itself, any bytes-like object of exactly ``size`` bytes."""
        data = bytes(memoryview(value))
        if len(data) != self.size:
            raise ValueError(f"{self.size} bytes are needed, not {len(data)}")
        return data

    def decode(self, data: Buffer, offset: int = 0) -> bytes:
        """A copy of ``size`` bytes."""
        return bytes(data[offset : offset + self.size])


@dataclass(frozen=True, slots=True)
class _Node:
    """How one layout takes part in a ``struct`` format: the format, how many items of the unpacked tuple it
    has, how a value is made from the items at an index, and how a value becomes items."""

    format: str
    items: int
    build: Callable[[tuple[Any, ...], int], Any]
    flatten: Callable[[Any, list[Any]], None]


class LayoutCodec:
    """The codec of one layout."""

    __slots__ = ("_node", "_struct", "layout")

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._node = _node(layout)
        self._struct = struct.Struct(_ORDER + self._node.format)

    @property
    def size(self) -> int:
        """Bytes of one value."""
        return self._struct.size

    def encode(self, value: Any) -> bytes:
        """The bytes of ``value``, padding and tails zeroed."""
        items: list[Any] = []
        self._node.flatten(value, items)
        return self._struct.pack(*items)

    def decode(self, data: Buffer, offset: int = 0) -> Any:
        """The value at byte ``offset`` of ``data``."""
        return self._node.build(self._struct.unpack_from(data, offset), 0)


@dataclass(frozen=True, slots=True)
class PerCpuCodec:
    """One value for each possible CPU, as a tuple; the kernel rounds each up to 8 bytes."""

    element: Codec
    cpus: int

    @property
    def stride(self) -> int:
        """Bytes from one CPU's value to the next one's."""
        return (self.element.size + 7) & ~7

    @property
    def size(self) -> int:
        """Bytes for all CPUs."""
        return self.stride * self.cpus

    def encode(self, value: Any) -> bytes:
        """``value``: a sequence with one value for each possible CPU."""
        if not isinstance(value, Sequence) or isinstance(value, bytes | str):
            raise TypeError(f"a per-CPU value is a sequence of {self.cpus} values, one for each possible CPU")
        if len(value) != self.cpus:
            raise ValueError(f"this machine has {self.cpus} possible CPUs, the value is for {len(value)}")
        return b"".join(self.element.encode(one).ljust(self.stride, b"\0") for one in value)

    def decode(self, data: Buffer, offset: int = 0) -> tuple[Any, ...]:
        """The values of all CPUs, by CPU number."""
        end = offset + self.size
        return tuple(self.element.decode(data, at) for at in range(offset, end, self.stride))


class HasFileno(Protocol):
    """Anything with a descriptor: a program, a map, a socket, a file."""

    def fileno(self) -> int: ...


@dataclass(frozen=True, slots=True)
class FdCodec:
    """Values that go in as descriptors and come out as ids: programs, maps, sockets (cookies)."""

    size: int

    def encode(self, value: HasFileno | int) -> bytes:
        """The descriptor of ``value``, or ``value`` as a descriptor."""
        number = value if isinstance(value, int) else value.fileno()
        return number.to_bytes(self.size, sys.byteorder)

    def decode(self, data: Buffer, offset: int = 0) -> int:
        """The id."""
        return int.from_bytes(data[offset : offset + self.size], sys.byteorder)


@functools.lru_cache(maxsize=1024)
def _codec(layout: Layout) -> LayoutCodec:
    return LayoutCodec(layout)


def codec_for(layout: Layout | None, size: int) -> Codec:
    """The codec of ``layout``, or of ``size`` raw bytes where there is none."""
    return RawCodec(size) if layout is None else _codec(layout)


def _node(layout: Layout) -> _Node:
    match layout:
        case IntType():
            return _int_node(layout)
        case BytesType():
            return _bytes_node(layout)
        case ArrayType():
            return _array_node(layout)
        case StructType(union=True):
            return _union_node(layout)
        case StructType():
            return _struct_node(layout)


def _checked_int(value: Any, layout: IntType) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"an integer is needed for {layout.name}, not {type(value).__name__}") from None
    if not layout.lo <= number <= layout.hi:
        raise OverflowError(f"{number} does not fit {layout.name} ({layout.lo}…{layout.hi})")
    return number


def _int_node(layout: IntType) -> _Node:
    size, signed = layout.size, layout.signed
    if layout.order is Order.NATIVE or layout.order.value == sys.byteorder or size == 1:
        letter = _INT_FORMATS[layout.bits]
        return _Node(
            letter if signed else letter.upper(),
            1,
            lambda items, at: items[at],
            lambda value, out: out.append(_checked_int(value, layout)),
        )
    order: Literal["little", "big"] = "big" if layout.order is Order.BIG else "little"
    return _Node(
        f"{size}s",
        1,
        lambda items, at: int.from_bytes(items[at], order, signed=signed),
        lambda value, out: out.append(_checked_int(value, layout).to_bytes(size, order, signed=signed)),
    )


def _bytes_node(layout: BytesType) -> _Node:
    length = layout.length

    def flatten(value: Any, out: list[Any]) -> None:
        if not isinstance(value, bytes | bytearray | memoryview):
            raise TypeError(f"bytes are needed for {layout.name}, not {type(value).__name__}")
        if len(value) > length:
            raise ValueError(f"{len(value)} bytes do not fit {layout.name}")
        out.append(bytes(value))

    return _Node(f"{length}s", 1, lambda items, at: items[at].rstrip(b"\0"), flatten)


def _array_node(layout: ArrayType) -> _Node:
    inner, length = _node(layout.element), layout.length
    width = inner.items
    plain = isinstance(layout.element, IntType) and len(inner.format) == 1
    build_one, flatten_one = inner.build, inner.flatten

    def build(items: tuple[Any, ...], at: int) -> tuple[Any, ...]:
        if plain:
            return items[at : at + length]
        return tuple(build_one(items, at + index * width) for index in range(length))

    def flatten(value: Any, out: list[Any]) -> None:
        if not isinstance(value, Sequence) or len(value) != length:
            raise TypeError(f"a sequence of {length} elements is needed for {layout.name}")
        for element in value:
            flatten_one(element, out)

    return _Node(
        f"{length}{inner.format}" if plain else inner.format * length, width * length, build, flatten
    )


def _members(value: Any, layout: StructType) -> Callable[[str], Any]:
    """How the members of ``value`` are read: a mapping by key, a plain tuple by place, else attributes."""
    names = [field.name for field in layout.fields]
    if isinstance(value, Mapping):
        extra = set(value) - set(names)
        if extra:
            raise TypeError(f"{layout.name} has no member {', '.join(sorted(map(repr, extra)))}")
        return value.__getitem__
    if type(value) is tuple or isinstance(value, list):
        if len(value) != len(names):
            raise TypeError(f"{layout.name} has {len(names)} members, not {len(value)}")
        return dict(zip(names, value, strict=True)).__getitem__
    spelled = _python_names(layout)
    return lambda name: getattr(value, spelled[name])


def _struct_node(layout: StructType) -> _Node:
    nodes: list[tuple[str, int, _Node]] = []
    text, at, end = "", 0, 0
    for field in layout.fields:
        if field.offset < end:
            return _overlapping_node(layout)
        node = _node(field.layout)
        text += f"{field.offset - end}x" if field.offset > end else ""
        text += node.format
        end = field.offset + field.layout.size
        nodes.append((field.name, at, node))
        at += node.items
    text += f"{layout.size - end}x" if layout.size > end else ""
    make, spelled = _maker(layout), _python_names(layout)
    builders = [(spelled[name], at, node.build) for name, at, node in nodes]

    def build(items: tuple[Any, ...], start: int) -> Any:
        return make(**{name: build_one(items, start + at) for name, at, build_one in builders})

    def flatten(value: Any, out: list[Any]) -> None:
        read = _members(value, layout)
        for name, _, node in nodes:
            try:
                member = read(name)
            except (AttributeError, KeyError):
                raise TypeError(
                    f"{type(value).__name__} has no member {name!r}, which {layout.name} needs"
                ) from None
            node.flatten(member, out)

    return _Node(text, at, build, flatten)


def _union_node(layout: StructType) -> _Node:
    return _overlapping_node(layout)


def _overlapping_node(layout: StructType) -> _Node:
    """A union, or a kernel struct with overlapping members: every member is decoded from the same bytes."""
    codecs = [(field.name, field.offset, _codec(field.layout)) for field in layout.fields]
    make, spelled = _maker(layout), _python_names(layout)

    def build(items: tuple[Any, ...], at: int) -> Any:
        return make(**{spelled[name]: codec.decode(items[at], offset) for name, offset, codec in codecs})

    def flatten(value: Any, out: list[Any]) -> None:
        data, written = bytearray(layout.size), bytearray(layout.size)
        read = _members(value, layout)
        for name, offset, codec in codecs:
            try:
                member = read(name)
            except (AttributeError, KeyError):
                continue
            if member is None:
                continue
            for index, byte in enumerate(codec.encode(member), offset):
                if written[index] and data[index] != byte:
                    raise ValueError(f"the members of {layout.name} share memory, but their values disagree")
                data[index], written[index] = byte, 1
        if not any(written) and layout.size:
            raise TypeError(f"{layout.name} needs at least one of its members")
        out.append(bytes(data))

    return _Node(f"{layout.size}s", 1, build, flatten)


def _python_names(layout: StructType) -> dict[str, str]:
    """The attribute of each member: its name, with an underscore behind a keyword; ``_0`` for one without."""
    if layout.python_class is not None:
        return {field.name: field.name for field in layout.fields}
    return {
        field.name: (f"{field.name}_" if keyword.iskeyword(field.name) else field.name) or f"_{index}"
        for index, field in enumerate(layout.fields)
    }


def _maker(layout: StructType) -> Callable[..., Any]:
    """What builds a Python object from the members: the user's class, or a frozen dataclass made here."""
    if layout.python_class is not None:
        return cast(_UserStruct, layout.python_class)._from_values
    names = _python_names(layout).values()
    import dataclasses

    return dataclasses.make_dataclass(layout.name or "anonymous", list(names), frozen=True, slots=True)
