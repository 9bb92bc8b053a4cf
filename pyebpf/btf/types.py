"""The types of BTF, one dataclass per kind; types point at types, ids exist only in encoded form.

Identity is equality: two structs of the same shape are two types (``pyebpf.btf.equal`` compares shapes).
``None`` stands for ``void`` wherever a type is expected. Structs, unions and forward declarations can be
changed after they are made, so that types may be recursive through pointers; everything else is frozen.

Source: Documentation/bpf/btf.rst and include/uapi/linux/btf.h of Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyebpf import enums
from pyebpf.diagnostics import PyebpfError
from pyebpf.records import dataclass


class BtfError(PyebpfError):
    """Malformed BTF. ``offset`` is where, in bytes from the start of the section (-1: not at one place)."""

    def __init__(self, message: str, offset: int = -1) -> None:
        self.offset = offset
        super().__init__(
            f"malformed BTF at byte {offset}: {message}" if offset >= 0 else f"malformed BTF: {message}"
        )


class Kind(enums.IntEnum):
    """``BTF_KIND_*``."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


class IntEncoding(enums.IntFlag):
    """``BTF_INT_*``. The kernel takes at most one."""

    NONE = 0
    SIGNED = 1
    CHAR = 2
    BOOL = 4


class FuncLinkage(enums.IntEnum):
    """``enum btf_func_linkage``."""

    STATIC = 0
    GLOBAL = 1
    EXTERN = 2


class VarLinkage(enums.IntEnum):
    """``BTF_VAR_*``."""

    STATIC = 0
    GLOBAL = 1
    EXTERN = 2


class _Shown:
    """The common ``repr``: the kind and the C spelling, never the whole graph."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {describe(self)}>"  # type: ignore[arg-type]  # only members of Type derive from this


@dataclass(frozen=True, slots=True)
class Tag:
    """A ``btf_decl_tag``: on a whole type (``index`` -1) or on its member or parameter number ``index``."""

    value: str
    index: int = -1


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Int(_Shown):
    """An integer of ``size`` bytes of which ``bits`` (0: all) at bit ``offset`` count."""

    name: str
    size: int
    encoding: IntEncoding = IntEncoding.NONE
    bits: int = 0
    offset: int = 0

    @property
    def width(self) -> int:
        """The number of bits."""
        return self.bits or self.size * 8

    @property
    def signed(self) -> bool:
        """Whether it is a signed integer."""
        return bool(self.encoding & IntEncoding.SIGNED)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Ptr(_Shown):
    """A pointer."""

    target: Type | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Array(_Shown):
    """``length`` elements; ``index`` is the type that C gives to the subscript."""

    element: Type
    length: int
    index: Type | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a struct or union at ``bit_offset`` bits; ``bit_size`` is 0 unless it is a bit-field."""

    name: str
    type: Type
    bit_offset: int
    bit_size: int = 0

    @property
    def offset(self) -> int:
        """Bytes from the start of the struct (of a bit-field: of the byte in which it starts)."""
        return self.bit_offset // 8


@dataclass(slots=True, eq=False, repr=False)
class Struct(_Shown):
    """A struct of ``size`` bytes; anonymous if ``name`` is empty."""

    name: str
    size: int
    members: Sequence[Member] = ()
    tags: tuple[Tag, ...] = ()


@dataclass(slots=True, eq=False, repr=False)
class Union(_Shown):
    """A union of ``size`` bytes; anonymous if ``name`` is empty."""

    name: str
    size: int
    members: Sequence[Member] = ()
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True, slots=True)
class Enumerator:
    """A name and its value."""

    name: str
    value: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Enum(_Shown):
    """An enum with values of at most 32 bits. No enumerators: declared only (``enum e;``)."""

    name: str
    size: int
    values: tuple[Enumerator, ...] = ()
    signed: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Enum64(_Shown):
    """An enum with values of 64 bits."""

    name: str
    size: int
    values: tuple[Enumerator, ...] = ()
    signed: bool = False


@dataclass(slots=True, eq=False, repr=False)
class Fwd(_Shown):
    """A struct or union that is declared but not defined."""

    name: str
    union: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Typedef(_Shown):
    """Another name for ``target``."""

    name: str
    target: Type | None
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Volatile(_Shown):
    """``volatile target``."""

    target: Type | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Const(_Shown):
    """``const target``. ``Const(None)`` is the type of a kernel variable whose type is not known."""

    target: Type | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Restrict(_Shown):
    """``target restrict``."""

    target: Type | None


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter; ``Param("", None)`` in the last place stands for ``...``."""

    name: str
    type: Type | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FuncProto(_Shown):
    """The type of a function: what it returns and takes."""

    result: Type | None
    params: tuple[Param, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Func(_Shown):
    """A function that exists. Tags with an index are about the parameter of that number."""

    name: str
    proto: FuncProto
    linkage: FuncLinkage = FuncLinkage.STATIC
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Var(_Shown):
    """A variable that exists."""

    name: str
    type: Type | None
    linkage: VarLinkage = VarLinkage.GLOBAL
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """Where in its section a variable lies (``.ksyms`` lists functions as well), in bytes."""

    entity: Var | Func
    offset: int
    size: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Datasec(_Shown):
    """A data section and the variables in it, by offset."""

    name: str
    size: int
    entries: tuple[Placed, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Float(_Shown):
    """A floating-point number of ``size`` bytes."""

    name: str
    size: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DeclTag(_Shown):
    """A tag on ``target`` as a record; the target's ``tags`` say the same and are what is written."""

    value: str
    target: Type
    index: int = -1


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TypeTag(_Shown):
    """``btf_type_tag``: a tag on what a pointer points at; it stands before the qualifiers."""

    value: str
    target: Type | None


Type = (
    Int
    | Ptr
    | Array
    | Struct
    | Union
    | Enum
    | Enum64
    | Fwd
    | Typedef
    | Volatile
    | Const
    | Restrict
    | Func
    | FuncProto
    | Var
    | Datasec
    | Float
    | DeclTag
    | TypeTag
)

KINDS: dict[type, Kind] = {
    Int: Kind.INT,
    Ptr: Kind.PTR,
    Array: Kind.ARRAY,
    Struct: Kind.STRUCT,
    Union: Kind.UNION,
    Enum: Kind.ENUM,
    Enum64: Kind.ENUM64,
    Fwd: Kind.FWD,
    Typedef: Kind.TYPEDEF,
    Volatile: Kind.VOLATILE,
    Const: Kind.CONST,
    Restrict: Kind.RESTRICT,
    Func: Kind.FUNC,
    FuncProto: Kind.FUNC_PROTO,
    Var: Kind.VAR,
    Datasec: Kind.DATASEC,
    Float: Kind.FLOAT,
    DeclTag: Kind.DECL_TAG,
    TypeTag: Kind.TYPE_TAG,
}

_KEYWORDS: dict[type, str] = {
    Struct: "struct",
    Union: "union",
    Enum: "enum",
    Enum64: "enum",
    Datasec: "section",
}
_QUALIFIERS: dict[type, str] = {Const: "const", Volatile: "volatile", Restrict: "restrict"}


def describe(type_: Type | None, *, brief: bool = False) -> str:
    """``type_`` in about the words of C: ``const struct task_struct *``; ``brief`` leaves parameters out."""
    match type_:
        case None:
            return "void"
        case Ptr(target=target):
            return f"{describe(target, brief=brief)} *"
        case Array(element=element, length=length):
            return f"{describe(element, brief=brief)}[{length}]"
        case Const(target=target) | Volatile(target=target) | Restrict(target=target):
            return f"{_QUALIFIERS[type(type_)]} {describe(target, brief=brief)}"
        case Struct() | Union() | Enum() | Enum64() | Datasec():
            return f"{_KEYWORDS[type(type_)]} {type_.name or '(anonymous)'}"
        case Fwd(name=name, union=union):
            return f"{'union' if union else 'struct'} {name}"
        case Func(name=name, proto=proto):
            return f"{name}: {describe(proto)}"
        case FuncProto(result=result, params=params):
            if brief:
                return f"{describe(result, brief=True)} (...)"
            texts = (describe(p.type, brief=True) if p.name or p.type else "..." for p in params)
            return f"{describe(result, brief=True)} ({', '.join(texts)})"
        case Var(name=name, type=inner):
            return f"{name}: {describe(inner)}"
        case DeclTag(value=value, target=target, index=index):
            return f"{value!r} on {describe(target)}" + (f" [{index}]" if index >= 0 else "")
        case TypeTag(value=value, target=target):
            return f"{describe(target, brief=brief)} __{value}"
        case Int(name=name) | Typedef(name=name) | Float(name=name):
            return name
