"""From the bytes of ``.BTF`` to types.

``Spec`` indexes a section without building a type: the kernel's own has more than 100,000 of which a
program needs a handful. Types are built when they are asked for, members of structs when they are looked at.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence

from pyebpf.btf.header import header_sections
from pyebpf.btf.index import Index, build_index
from pyebpf.btf.members import LateMembers
from pyebpf.btf.names import essential_name
from pyebpf.btf.strings import Bytes, Strings
from pyebpf.btf.types import (
    Array,
    BtfError,
    Const,
    Datasec,
    DeclTag,
    Enum,
    Enum64,
    Enumerator,
    Float,
    Func,
    FuncLinkage,
    FuncProto,
    Fwd,
    Int,
    IntEncoding,
    Kind,
    Member,
    Param,
    Placed,
    Ptr,
    Restrict,
    Struct,
    Tag,
    Type,
    Typedef,
    TypeTag,
    Union,
    Var,
    VarLinkage,
    Volatile,
)

# 32-bit words behind the three of every record: always, and for each of its parts.
_FIXED = {Kind.INT: 1, Kind.ARRAY: 3, Kind.VAR: 1, Kind.DECL_TAG: 1}
_PER_PART = {
    Kind.STRUCT: 3,
    Kind.UNION: 3,
    Kind.ENUM: 2,
    Kind.FUNC_PROTO: 2,
    Kind.DATASEC: 3,
    Kind.ENUM64: 3,
}
_SIZES: list[tuple[int, int]] = [(3 + _FIXED.get(kind, 0), _PER_PART.get(kind, 0)) for kind in Kind]
_RESERVED = 0x60FF_0000
_INT_SIZES = (1, 2, 4, 8, 16)
_MAX_DEPTH = 64  # of a chain of types without a struct in it; the kernel stops at 32


class Spec:
    """A ``.BTF`` section, or the BTF of the kernel, by id and by name.

    Args:
        data: the section.
        base: what ``data`` continues: the kernel's BTF for that of a module.
        index: what ``index`` gave for the same ``data``, so that it need not be gone through.

    Raises:
        BtfError: if the header or the sequence of records is malformed. What is wrong inside a type is found
            when the type is built.
    """

    def __init__(self, data: Bytes, base: Spec | None = None, index: Index | None = None) -> None:
        self.base = base
        self.first = len(base) if base else 1
        self.little_endian, types, strings = header_sections(data, continued=base is not None)
        self._strings: Strings = Strings(data, strings, base._strings if base else None)
        self._start = types.start
        self._words = _words(memoryview(data)[types.start : types.stop], self.little_endian, index is None)
        self._known = index
        self._at: Sequence[int] = self._places() if index is None else index.places
        self._types: dict[int, Type] = {}
        self._building: set[int] = set()
        self._by_name: dict[int, list[int]] | None = None
        self._tags: dict[int, list[Tag]] | None = None

    def __len__(self) -> int:
        """The number of ids, that of ``void`` and those of the base included."""
        return self.first + len(self._at)

    @property
    def string_size(self) -> int:
        """Bytes of strings, those of the base included."""
        return self._strings.end

    def string(self, offset: int) -> str:
        """The string at ``offset``."""
        return self._strings.raw(offset).decode("utf-8", "surrogateescape")

    def type(self, number: int) -> Type | None:
        """The type with id ``number``; ``None`` for 0, which is ``void``."""
        if number == 0:
            return None
        known = self._types.get(number)
        if known is not None:
            return known
        if self.base is not None and number < self.first:
            return self.base.type(number)
        if number >= len(self):
            raise BtfError(f"there is no type {number}, the last one is {len(self) - 1}")
        if number in self._building:
            raise BtfError(f"type {number} contains itself", self._offset(number))
        if len(self._building) > _MAX_DEPTH:
            raise BtfError(f"type {number} is nested too deeply", self._offset(number))
        self._building.add(number)
        try:
            built = self._build(number)
        finally:
            self._building.discard(number)
        self._types[number] = built
        return built

    def types(self) -> Iterator[tuple[int, Type]]:
        """All types with their ids, without those of the base."""
        for number in range(self.first, len(self)):
            built = self.type(number)
            assert built is not None
            yield number, built

    def build_all(self) -> list[Type | None]:
        """Every type, members included, without those of the base; ``void`` is the first."""
        built = [type_ for _, type_ in self.types()]
        for type_ in built:
            if isinstance(type_, Struct | Union):
                type_.members = tuple(type_.members)
        return [None, *built]

    def kind(self, number: int) -> Kind:
        """The kind of type ``number``, which is not built for that."""
        if self.base is not None and number < self.first:
            return self.base.kind(number)
        if number == 0:
            return Kind.VOID
        if number >= len(self):
            raise BtfError(f"there is no type {number}, the last one is {len(self) - 1}")
        return Kind(self._words[self._at[number - self.first] + 1] >> 24 & 0x1F)

    def ids(self, name: str, *kinds: Kind) -> list[int]:
        """The ids of the types called ``name``, those of the base first; only of ``kinds``, if given."""
        raw = name.encode("utf-8", "surrogateescape")
        found = self.base.ids(name, *kinds) if self.base else []
        found += sorted(n for n in self._own_ids(raw) if not kinds or self.kind(n) in kinds)
        return found

    def index(self) -> Index:
        """What makes it quick to go through the same bytes again."""
        if self._known is None:
            self._known = build_index(self._words, self._at, self.first, self._strings.raw)
        return self._known

    def names(self, *kinds: Kind, prefix: str = "") -> Iterator[str]:
        """The names of all types of ``kinds`` that start with ``prefix``; without those of the base. It takes long for
        the kernel's."""
        raw, words = prefix.encode(), self._words
        for place in self._at:
            if Kind(words[place + 1] >> 24 & 0x1F) in kinds:
                name = self._strings.raw(words[place])
                if name.startswith(raw):
                    yield name.decode("utf-8", "surrogateescape")

    def find(self, name: str, *kinds: Kind) -> Type | None:
        """The first type called ``name`` (of one of ``kinds``), or ``None``."""
        found = self.ids(name, *kinds)
        return self.type(found[0]) if found else None

    def first_ids(self, kind: Kind) -> dict[str, int]:
        """The names of the types of ``kind``, with the id of the first of each; without those of the base."""
        words, found = self._words, dict[str, int]()
        for number, place in enumerate(self._at, self.first):
            if words[place + 1] >> 24 & 0x1F == kind:
                found.setdefault(self.string(words[place]), number)
        return found

    def candidates(self, name: str, *kinds: Kind) -> list[int]:
        """Like ``ids``, but ``name___flavor`` counts too: what a CO-RE relocation may refer to."""
        found = self.base.candidates(name, *kinds) if self.base else []
        raw = name.encode("utf-8", "surrogateescape")
        if self._known is not None:
            for number in self._known.named(raw):
                called = self._name(number)
                if name in (called, essential_name(called)) and (not kinds or self.kind(number) in kinds):
                    found.append(number)
            return found
        own = set(self.ids(name, *kinds)) - set(found)
        for flavored in self._strings.starting(raw + b"___"):
            if essential_name(flavored.decode("utf-8", "surrogateescape")) == name:
                own.update(n for n in self._own_ids(flavored) if not kinds or self.kind(n) in kinds)
        return found + sorted(own)

    def _own_ids(self, raw: bytes) -> Iterator[int]:
        """The ids of the types called ``raw``, without those of the base."""
        if self._known is not None:
            name = raw.decode("utf-8", "surrogateescape")
            yield from (number for number in self._known.named(raw) if self._name(number) == name)
        else:
            for offset in self._strings.offsets(raw):
                yield from self._names().get(offset, ())

    def _name(self, number: int) -> str:
        """The name of a type that is not of the base."""
        return self.string(self._words[self._at[number - self.first]])

    def _offset(self, number: int) -> int:
        return self._start + self._at[number - self.first] * 4

    def _places(self) -> array[int]:
        words, sizes, at = self._words, _SIZES, array("I")
        place, end = 0, len(words)
        try:
            while place < end:
                info = words[place + 1]
                if info & _RESERVED:
                    raise BtfError(f"reserved bits are set in info {info:#x}", self._start + place * 4)
                at.append(place)
                fixed, each = sizes[info >> 24 & 0x1F]
                place += fixed + each * (info & 0xFFFF)
        except IndexError:
            raise BtfError("unknown kind, or the record is cut off", self._start + place * 4) from None
        if place != end:
            raise BtfError("the last record is cut off", self._start + at[-1] * 4)
        return at

    def _names(self) -> dict[int, list[int]]:
        if self._by_name is None:
            names: dict[int, list[int]] = {}
            words = self._words
            for number, place in enumerate(self._at, self.first):
                offset = words[place]
                if offset in names:
                    names[offset].append(number)
                else:
                    names[offset] = [number]
            names.pop(0, None)
            self._by_name = names
        return self._by_name

    def _tags_of(self, number: int) -> tuple[Tag, ...]:
        if self._tags is None:
            self._tags = {}
            words, places = self._words, self._at
            if self._known is not None:
                places = array("I", [self._at[number - self.first] for number in self._known.tags])
            for place in places:
                if words[place + 1] >> 24 & 0x1F == Kind.DECL_TAG:
                    tag = Tag(self.string(words[place]), _signed(words[place + 3]))
                    self._tags.setdefault(words[place + 2], []).append(tag)
        return tuple(self._tags.get(number, ()))

    def _some(self, target: int, number: int) -> Type:
        found = self.type(target)
        if found is None:
            raise BtfError(f"type {number} contains void", self._offset(number))
        return found

    def _members(self, number: int) -> tuple[Member, ...]:
        place = self._at[number - self.first]
        info = self._words[place + 1]
        fields = self._words[place + 3 : place + 3 + 3 * (info & 0xFFFF)]
        if info >> 31:
            return tuple(
                Member(self.string(name), self._some(target, number), at & 0xFF_FFFF, at >> 24)
                for name, target, at in zip(fields[::3], fields[1::3], fields[2::3], strict=True)
            )
        return tuple(
            Member(self.string(name), self._some(target, number), at)
            for name, target, at in zip(fields[::3], fields[1::3], fields[2::3], strict=True)
        )

    def _build(self, number: int) -> Type:
        place = self._at[number - self.first]
        words = self._words
        name_offset, info, third = words[place : place + 3]
        kind, vlen, flag = Kind(info >> 24 & 0x1F), info & 0xFFFF, bool(info >> 31)
        name = self.string(name_offset)
        tail = words[place + 3 : place + _SIZES[kind][0] + _SIZES[kind][1] * vlen]
        match kind:
            case Kind.INT:
                encoding, offset, bits = (
                    IntEncoding(tail[0] >> 24 & 0xF),
                    tail[0] >> 16 & 0xFF,
                    tail[0] & 0xFF,
                )
                if third not in _INT_SIZES or offset + bits > third * 8:
                    raise BtfError(f"integer {name!r}: {bits} bits in {third} bytes", self._offset(number))
                return Int(name, third, encoding, bits, offset)
            case Kind.PTR:
                return Ptr(self.type(third))
            case Kind.ARRAY:
                return Array(self._some(tail[0], number), tail[2], self._some(tail[1], number))
            case Kind.STRUCT:
                return Struct(name, third, LateMembers(lambda: self._members(number)), self._tags_of(number))
            case Kind.UNION:
                return Union(name, third, LateMembers(lambda: self._members(number)), self._tags_of(number))
            case Kind.ENUM:
                return Enum(name, third, self._enumerators(tail, flag), flag)
            case Kind.ENUM64:
                return Enum64(name, third, self._enumerators64(tail, flag), flag)
            case Kind.FWD:
                return Fwd(name, flag)
            case Kind.TYPEDEF:
                return Typedef(name, self.type(third), self._tags_of(number))
            case Kind.VOLATILE:
                return Volatile(self.type(third))
            case Kind.CONST:
                return Const(self.type(third))
            case Kind.RESTRICT:
                return Restrict(self.type(third))
            case Kind.FUNC:
                proto = self.type(third)
                if not isinstance(proto, FuncProto) or vlen > FuncLinkage.EXTERN:
                    raise BtfError(
                        f"function {name!r} has no prototype, or a bad linkage", self._offset(number)
                    )
                return Func(name, proto, FuncLinkage(vlen), self._tags_of(number))
            case Kind.FUNC_PROTO:
                pairs = zip(tail[::2], tail[1::2], strict=True)
                params = tuple(Param(self.string(text), self.type(target)) for text, target in pairs)
                return FuncProto(self.type(third), params)
            case Kind.VAR:
                if tail[0] > VarLinkage.EXTERN:
                    raise BtfError(f"variable {name!r} has linkage {tail[0]}", self._offset(number))
                return Var(name, self.type(third), VarLinkage(tail[0]), self._tags_of(number))
            case Kind.DATASEC:
                return Datasec(name, third, tuple(self._placed(tail, number)))
            case Kind.FLOAT:
                return Float(name, third)
            case Kind.DECL_TAG:
                return DeclTag(name, self._some(third, number), _signed(tail[0]))
            case Kind.TYPE_TAG:
                return TypeTag(name, self.type(third))
            case Kind.VOID:
                raise BtfError(f"type {number} is of kind 0", self._offset(number))

    def _enumerators(self, tail: Sequence[int], signed: bool) -> tuple[Enumerator, ...]:
        pairs = zip(tail[::2], tail[1::2], strict=True)
        return tuple(
            Enumerator(self.string(name), _signed(value) if signed else value) for name, value in pairs
        )

    def _enumerators64(self, tail: Sequence[int], signed: bool) -> tuple[Enumerator, ...]:
        rows = zip(tail[::3], tail[1::3], tail[2::3], strict=True)
        return tuple(
            Enumerator(self.string(name), (_signed(high) if signed else high) << 32 | low)
            for name, low, high in rows
        )

    def _placed(self, tail: Sequence[int], number: int) -> Iterator[Placed]:
        for target, offset, size in zip(tail[::3], tail[1::3], tail[2::3], strict=True):
            entity = self.type(target)
            if not isinstance(entity, Var | Func):
                raise BtfError(f"section {number} lists something else than variables", self._offset(number))
            yield Placed(entity, offset, size)


def _words(data: memoryview, little_endian: bool, copied: bool) -> array[int] | memoryview:
    """The 32-bit words of ``data``, as they stand or ``copied``, which is quicker to go through."""
    swapped = little_endian != (sys.byteorder == "little")
    if not (copied or swapped):
        return data.cast("I")
    words = array("I")
    words.frombytes(data)
    if swapped:
        words.byteswap()
    return words


def _signed(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word


def decode(data: bytes, base: Spec | None = None) -> list[Type | None]:
    """Every type in ``data`` (without those of ``base``), fully built; the first is ``None``: ``void``.

    Raises:
        BtfError: for any malformed input.
    """
    return Spec(data, base).build_all()
