"""CO-RE relocations seen from the program's own types: what an access string means, and its value before
relocation.

An access string is a path such as ``0:2:1``: the index of the root in an imagined array, then numbers of
members (anonymous ones count) and of elements. Source: Documentation/bpf/llvm_reloc.rst and ``enum
bpf_core_relo_kind`` in linux/bpf.h of Linux 6.18.
"""

from __future__ import annotations

from pyebpf import enums
from pyebpf.btf.base import size_of, skip_modifiers
from pyebpf.btf.types import Array, BtfError, Enum, Enum64, Int, Struct, Type, Union, describe
from pyebpf.records import dataclass

_MAX_STEPS = 64


class CoreKind(enums.IntEnum):
    """``enum bpf_core_relo_kind``: what a relocated instruction wants to know."""

    FIELD_BYTE_OFFSET = 0
    FIELD_BYTE_SIZE = 1
    FIELD_EXISTS = 2
    FIELD_SIGNED = 3
    FIELD_LSHIFT_U64 = 4
    FIELD_RSHIFT_U64 = 5
    TYPE_ID_LOCAL = 6
    TYPE_ID_TARGET = 7
    TYPE_EXISTS = 8
    TYPE_SIZE = 9
    ENUMVAL_EXISTS = 10
    ENUMVAL_VALUE = 11
    TYPE_MATCHES = 12


@dataclass(frozen=True, slots=True)
class Access:
    """The field at the end of a path, ``bit_offset`` bits from the root; ``bit_size`` is 0 unless a
    bit-field.
    """

    type: Type
    bit_offset: int
    bit_size: int = 0


def access_path(text: str) -> tuple[int, ...]:
    """The numbers of an access string.

    Raises:
        BtfError: if it is none.
    """
    parts = text.split(":")
    if len(parts) > _MAX_STEPS or not all(part.isascii() and part.isdigit() for part in parts):
        raise BtfError(f"{text!r} is no access string")
    return tuple(int(part) for part in parts)


def follow(root: Type, text: str) -> Access:
    """The field that the access string ``text`` leads to from ``root``.

    Raises:
        BtfError: if the path leaves the types.
    """
    first, *rest = access_path(text)
    found = Access(root, first * size_of(root) * 8)
    for index in rest:
        container = skip_modifiers(found.type)
        match container:
            case Struct(members=members) | Union(members=members) if index < len(members):
                member = members[index]
                found = Access(member.type, found.bit_offset + member.bit_offset, member.bit_size)
            case Array(element=element):
                found = Access(element, found.bit_offset + index * size_of(element) * 8)
            case _:
                raise BtfError(
                    f"access {text!r} to {describe(root)}: {describe(container)} has no part {index}"
                )
    return found


def local_value(kind: CoreKind, root: Type, text: str) -> int | None:
    """What stands in the instruction before relocation; ``None`` where loaders do not look at it.

    Raises:
        BtfError: if the access string does not fit the type.
    """
    match kind:
        case CoreKind.FIELD_BYTE_OFFSET | CoreKind.FIELD_BYTE_SIZE | CoreKind.FIELD_SIGNED:
            field = follow(root, text)
            if field.bit_size:
                return None
            if kind is CoreKind.FIELD_BYTE_OFFSET:
                return field.bit_offset // 8
            inner = skip_modifiers(field.type)
            if kind is CoreKind.FIELD_BYTE_SIZE:
                return size_of(inner)
            return int(isinstance(inner, Int | Enum | Enum64) and inner.signed)
        case CoreKind.FIELD_EXISTS:
            follow(root, text)
            return 1
        case CoreKind.ENUMVAL_EXISTS | CoreKind.ENUMVAL_VALUE:
            enum_type, (index, *rest) = skip_modifiers(root), access_path(text)
            if not isinstance(enum_type, Enum | Enum64) or rest or index >= len(enum_type.values):
                raise BtfError(f"access {text!r}: {describe(root)} has no such enumerator")
            return enum_type.values[index].value if kind is CoreKind.ENUMVAL_VALUE else 1
        case CoreKind.TYPE_EXISTS | CoreKind.TYPE_MATCHES:
            return 1
        case CoreKind.TYPE_SIZE:
            return size_of(root)
        case CoreKind.FIELD_LSHIFT_U64 | CoreKind.FIELD_RSHIFT_U64:
            return None
        case CoreKind.TYPE_ID_LOCAL | CoreKind.TYPE_ID_TARGET:
            return None
