"""From types to the bytes of ``.BTF``.

Ids are given out in the order in which types are first met, so equal input gives equal bytes. Types that are
equal by content (integers, pointers to the same type, enums, prototypes …) share an id; structs, unions,
functions, variables and sections are what they are by identity.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from pyebpf.btf.base import ARRAY_INDEX
from pyebpf.btf.header import HEADER_SIZE, MAGIC
from pyebpf.btf.types import (
    KINDS,
    Array,
    Const,
    Datasec,
    DeclTag,
    Enum,
    Enum64,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Ptr,
    Restrict,
    Struct,
    Type,
    Typedef,
    TypeTag,
    Union,
    Var,
    Volatile,
)
from pyebpf.diagnostics import InternalError
from pyebpf.hints import assert_never
from pyebpf.records import dataclass, field

MAX_VLEN = 0xFFFF
_LOW = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Encoded:
    """``.BTF`` as bytes, and the id of each type that went into it."""

    data: bytes
    ids: Mapping[Type, int]


@dataclass(slots=True)
class Encoder:
    """Collects types and strings; ``finish`` makes the section of them."""

    little_endian: bool = True
    ids: dict[Type, int] = field(default_factory=dict)
    _strings: dict[bytes, int] = field(default_factory=lambda: {b"": 0})
    _string_bytes: bytearray = field(default_factory=lambda: bytearray(1))
    _records: list[bytes] = field(default_factory=list)
    _known: dict[bytes, int] = field(default_factory=dict)
    _waiting: list[Struct | Union | Datasec] = field(default_factory=list)

    def string(self, text: str) -> int:
        """The offset of ``text`` in the string section."""
        raw = text.encode("utf-8", "surrogateescape")
        at = self._strings.get(raw)
        if at is None:
            if 0 in raw:
                raise InternalError(f"NUL in the string {text!r}", phase="BTF")
            at = self._strings[raw] = len(self._string_bytes)
            self._string_bytes += raw + b"\0"
        return at

    def add(self, type_: Type | None) -> int:
        """The id of ``type_``; 0 for ``void``."""
        if type_ is None:
            return 0
        number = self.ids.get(type_)
        if number is not None:
            return number
        match type_:
            case Struct() | Union() | Datasec():
                number = self._append(b"")
                self.ids[type_] = number
                self._waiting.append(type_)
            case Func() | Var():
                record = self._leaf(type_)
                number = self._append(record)
                self.ids[type_] = number
            case _:
                record = self._leaf(type_)
                number = self._known.get(record)
                if number is None:
                    number = self._known[record] = self._append(record)
                self.ids[type_] = number
        if isinstance(type_, Struct | Union | Typedef | Func | Var):
            for tag in type_.tags:
                self.add(DeclTag(tag.value, type_, tag.index))
        return number

    def finish(self) -> bytes:
        """The section with everything that was added."""
        while self._waiting:
            type_ = self._waiting.pop()
            self._records[self.ids[type_] - 1] = self._composite(type_)
        types = b"".join(self._records)
        strings = bytes(self._string_bytes)
        header = self._pack("HBBIIIII", MAGIC, 1, 0, HEADER_SIZE, 0, len(types), len(types), len(strings))
        return header + types + strings

    def _append(self, record: bytes) -> int:
        self._records.append(record)
        return len(self._records)

    def _pack(self, layout: str, *values: int) -> bytes:
        return struct.pack(("<" if self.little_endian else ">") + layout, *values)

    def _record(self, type_: Type, third: int, vlen: int = 0, flag: bool = False, tail: bytes = b"") -> bytes:
        if vlen > MAX_VLEN:
            raise InternalError(f"{vlen} parts in {type_!r}, the format takes {MAX_VLEN}", phase="BTF")
        match type_:
            case DeclTag(value=name) | TypeTag(value=name):
                pass
            case Ptr() | Array() | Volatile() | Const() | Restrict() | FuncProto():
                name = ""
            case _:
                name = type_.name
        info = flag << 31 | KINDS[type(type_)] << 24 | vlen
        return self._pack("III", self.string(name), info, third & _LOW) + tail

    def _leaf(self, type_: Type) -> bytes:
        match type_:
            case Int(size=size, encoding=encoding, offset=offset):
                bits = encoding << 24 | offset << 16 | type_.width
                return self._record(type_, size, tail=self._pack("I", bits))
            case Ptr(target=target) | Typedef(target=target) | TypeTag(target=target):
                return self._record(type_, self.add(target))
            case Volatile(target=target) | Const(target=target) | Restrict(target=target):
                return self._record(type_, self.add(target))
            case Array(element=element, length=length, index=index):
                ids = self.add(element), self.add(index or ARRAY_INDEX)
                return self._record(type_, 0, tail=self._pack("III", *ids, length))
            case Enum(size=size, values=values, signed=signed):
                body = [self._pack("II", self.string(v.name), v.value & _LOW) for v in values]
                return self._record(type_, size, len(values), signed, b"".join(body))
            case Enum64(size=size, values=values, signed=signed):
                wide = [
                    self._pack("III", self.string(v.name), v.value & _LOW, v.value >> 32 & _LOW)
                    for v in values
                ]
                return self._record(type_, size, len(values), signed, b"".join(wide))
            case Fwd(union=union):
                return self._record(type_, 0, flag=union)
            case Func(proto=proto, linkage=linkage):
                return self._record(type_, self.add(proto), linkage)
            case FuncProto(result=result, params=params):
                first = self.add(result)
                body = [self._pack("II", self.string(p.name), self.add(p.type)) for p in params]
                return self._record(type_, first, len(params), tail=b"".join(body))
            case Var(type=inner, linkage=linkage):
                return self._record(type_, self.add(inner), tail=self._pack("I", linkage))
            case Float(size=size):
                return self._record(type_, size)
            case DeclTag(target=target, index=index):
                return self._record(type_, self.add(target), tail=self._pack("i", index))
            case Struct() | Union() | Datasec():
                raise InternalError(f"{type_!r} cannot be encoded before its members", phase="BTF")
        assert_never(type_)

    def _composite(self, type_: Struct | Union | Datasec) -> bytes:
        match type_:
            case Struct(size=size, members=members) | Union(size=size, members=members):
                flag = any(m.bit_size for m in members)
                body = [
                    self._pack(
                        "III", self.string(m.name), self.add(m.type), m.bit_offset | (m.bit_size << 24)
                    )
                    for m in members
                ]
                return self._record(type_, size, len(members), flag, b"".join(body))
            case Datasec(size=size, entries=entries):
                body = [self._pack("III", self.add(e.entity), e.offset, e.size) for e in entries]
                return self._record(type_, size, len(entries), tail=b"".join(body))


def encode(roots: Iterable[Type], *, little_endian: bool = True) -> Encoded:
    """``.BTF`` with ``roots`` and everything that they reach; the ids of ``roots`` come in their order."""
    encoder = Encoder(little_endian)
    for root in roots:
        encoder.add(root)
    return Encoded(encoder.finish(), encoder.ids)
