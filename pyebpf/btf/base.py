"""Ready-made types: the integers that kernel programmers name, and questions that one asks of any type."""

from __future__ import annotations

from pyebpf.btf.types import (
    KINDS,
    Array,
    BtfError,
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
    Kind,
    Ptr,
    Restrict,
    Struct,
    Type,
    Typedef,
    TypeTag,
    Union,
    Var,
    Volatile,
    describe,
)

U8, U16, U32, U64 = (Int(f"u{size * 8}", size) for size in (1, 2, 4, 8))
S8, S16, S32, S64 = (Int(f"s{size * 8}", size, IntEncoding.SIGNED) for size in (1, 2, 4, 8))
INT = Int("int", 4, IntEncoding.SIGNED)
CHAR = Int("char", 1, IntEncoding.SIGNED)
BOOL = Int("_Bool", 1, IntEncoding.BOOL)
ARRAY_INDEX = Int("__ARRAY_SIZE_TYPE__", 4)
BASE_TYPES: tuple[Int, ...] = (INT, ARRAY_INDEX, U8, U16, U32, U64, S8, S16, S32, S64, CHAR, BOOL)


def kind_of(type_: Type | None) -> Kind:
    """The kind of ``type_``; ``VOID`` for ``None``."""
    return Kind.VOID if type_ is None else KINDS[type(type_)]


def name_of(type_: Type | None) -> str:
    """The name of ``type_``; empty for kinds that have none."""
    return "" if type_ is None else getattr(type_, "name", "")


def skip_modifiers(type_: Type | None) -> Type | None:
    """What is under ``const``, ``volatile``, ``restrict``, typedefs and type tags."""
    while isinstance(type_, Const | Volatile | Restrict | Typedef | TypeTag):
        type_ = type_.target
    return type_


def size_of(type_: Type | None) -> int:
    """Bytes that a value of the type takes.

    Raises:
        BtfError: if it has no size (``void``, a function, a declaration without definition).
    """
    count = 1
    while True:
        match skip_modifiers(type_):
            case Int(size=size) | Struct(size=size) | Union(size=size) | Enum(size=size) | Enum64(size=size):
                return count * size
            case Float(size=size) | Datasec(size=size):
                return count * size
            case Ptr():
                return count * 8
            case Array(element=element, length=length):
                type_, count = element, count * length
            case Var(type=inner):
                type_ = inner
            case (
                None
                | Fwd()
                | Func()
                | FuncProto()
                | DeclTag()
                | Const()
                | Volatile()
                | Restrict()
                | Typedef()
                | TypeTag()
            ):
                raise BtfError(f"{describe(type_)} has no size")
