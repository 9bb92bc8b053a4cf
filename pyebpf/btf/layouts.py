"""Between BTF and ``pyebpf.layout``: the types of our own variables, and the layouts of other people's.

Layouts know only what lies in memory. BTF says more (pointers, enums, names of typedefs), which is lost on
the way to a layout; on the way from one, integers have C's names and ordered ones the kernel's (``__be16``).
"""

from __future__ import annotations

import weakref

from pyebpf import layout as lay
from pyebpf.btf.base import CHAR, S8, S16, S32, S64, U8, U16, U32, U64, skip_modifiers
from pyebpf.btf.types import (
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
    IntEncoding,
    Member,
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
from pyebpf.hints import assert_never

_INTS: dict[tuple[int, bool], Int] = {
    (i.size * 8, i.signed): i for i in (U8, U16, U32, U64, S8, S16, S32, S64)
}
_ORDERED: dict[lay.IntType, Typedef] = {
    lay.IntType(bits, False, order): Typedef(f"__{prefix}{bits}", _INTS[bits, False])
    for bits in (16, 32, 64)
    for order, prefix in ((lay.Order.BIG, "be"), (lay.Order.LITTLE, "le"))
}
_BY_TYPEDEF: dict[str, lay.IntType] = {typedef.name: layout for layout, typedef in _ORDERED.items()}
_STRUCTS: weakref.WeakKeyDictionary[lay.StructType, Struct | Union] = weakref.WeakKeyDictionary()
_INT_SIZES = (1, 2, 4, 8)
_MAX_DEPTH = 64  # of nesting; the kernel stops at 32


def from_layout(layout: lay.Layout) -> Type:
    """The BTF type of ``layout``; the same object for the same struct each time."""
    match layout:
        case lay.IntType(bits=bits, signed=signed, order=order):
            if order is lay.Order.NATIVE or bits == 8:
                return _INTS[bits, signed]
            return _ORDERED[lay.IntType(bits, False, order)]
        case lay.BytesType(length=length):
            return Array(CHAR, length)
        case lay.ArrayType(element=element, length=length):
            return Array(from_layout(element), length)
        case lay.StructType():
            known = _STRUCTS.get(layout)
            if known is None:
                members = tuple(Member(f.name, from_layout(f.layout), f.offset * 8) for f in layout.fields)
                make = Union if layout.union else Struct
                known = _STRUCTS[layout] = make(identifier(layout.name), layout.size, members)
            return known
    assert_never(layout)


def layout_of(type_: Type | None) -> lay.Layout | None:
    """How a value of ``type_`` lies in memory, or ``None`` where layouts cannot say it.

    Pointers and enums become integers, the members of anonymous structs and unions become members of what
    they are in. Bit-fields, floating point and integers of 128 bits have no layout.
    """
    return _layout_of(type_, {}, 0)


def _layout_of(type_: Type | None, known: dict[Type, lay.Layout | None], depth: int) -> lay.Layout | None:
    if depth > _MAX_DEPTH:
        return None
    depth += 1
    match type_:
        case Typedef(name=name, target=target):
            return _BY_TYPEDEF.get(name) or _layout_of(target, known, depth)
        case Const(target=target) | Volatile(target=target) | Restrict(target=target):
            return _layout_of(target, known, depth)
        case TypeTag(target=target) | Var(type=target):
            return _layout_of(target, known, depth)
        case Int(size=size):
            plain = size in _INT_SIZES and type_.width == size * 8 and type_.offset == 0
            is_bool = bool(type_.encoding & IntEncoding.BOOL) and size == 1
            return lay.IntType(size * 8, type_.signed) if plain or is_bool else None
        case Enum(size=size, signed=signed) | Enum64(size=size, signed=signed):
            return lay.IntType(size * 8, signed) if size in _INT_SIZES else None
        case Ptr():
            return lay.U64
        case Array(element=element, length=length):
            inner = skip_modifiers(element)
            if isinstance(inner, Int) and inner.size == 1 and inner.name == "char":
                return lay.BytesType(length)
            part = _layout_of(element, known, depth)
            return lay.ArrayType(part, length) if part is not None else None
        case Struct() | Union():
            if type_ not in known:
                known[type_] = None  # a struct that contains itself has no layout
                known[type_] = _struct(type_, known, depth)
            return known[type_]
        case None | Fwd() | Func() | FuncProto() | Datasec() | Float() | DeclTag():
            return None
    assert_never(type_)


def _struct(type_: Struct | Union, known: dict[Type, lay.Layout | None], depth: int) -> lay.StructType | None:
    fields: list[lay.Field] = []
    for member in type_.members:
        inner = _layout_of(member.type, known, depth)
        if (
            inner is None
            or member.bit_size
            or member.bit_offset % 8
            or member.offset + inner.size > type_.size
        ):
            return None
        if not member.name and isinstance(inner, lay.StructType):
            fields += [lay.Field(f.name, f.layout, member.offset + f.offset) for f in inner.fields]
        else:
            fields.append(lay.Field(member.name, inner, member.offset))
    if len({f.name for f in fields}) < len(fields):
        return None
    align = max((f.layout.align for f in fields), default=1)
    packed = bool(type_.size % align) or any(f.offset % f.layout.align for f in fields)
    union = isinstance(type_, Union)
    return lay.StructType(type_.name, tuple(fields), type_.size, 1 if packed else align, packed, union)


def identifier(name: str) -> str:
    """``name`` with what C identifiers cannot hold replaced by ``_uXXXX_``: for BTF, symbols and the kernel.

    Different names stay different unless a name holds such a replacement itself.
    """
    plain = "".join(c if c.isascii() and (c.isalnum() or c == "_") else f"_u{ord(c):04x}_" for c in name)
    return f"_{plain}" if plain[:1].isdigit() else plain
