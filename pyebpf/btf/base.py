"""Ready-made types: the integers of C, and questions that one asks of any type."""

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

# C's names, not the kernel's: skeletons and headers made of the types must compile without typedefs.
_UNSIGNED = {"unsigned char": 1, "unsigned short": 2, "unsigned int": 4, "unsigned long long": 8}
_SIGNED = {"signed char": 1, "short": 2, "int": 4, "long long": 8}
U8, U16, U32, U64 = (Int(name, size) for name, size in _UNSIGNED.items())
S8, S16, S32, S64 = (Int(name, size, IntEncoding.SIGNED) for name, size in _SIGNED.items())
INT = S32
CHAR = Int("char", 1, IntEncoding.SIGNED)
BOOL = Int("_Bool", 1, IntEncoding.BOOL)
ARRAY_INDEX = Int("__ARRAY_SIZE_TYPE__", 4)
BASE_TYPES: tuple[Int, ...] = (INT, ARRAY_INDEX, U8, U16, U32, U64, S8, S16, S64, CHAR, BOOL)


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


def essential_name(name: str) -> str:
    """``name`` without its flavor: ``task_struct___v2`` and ``task_struct`` mean the same kernel type."""
    at = name.rfind("___")
    while at > 0:
        if name[at - 1] != "_" and at + 3 < len(name) and name[at + 3] != "_":
            return name[:at]
        at = name.rfind("___", 0, at + 2)
    return name
