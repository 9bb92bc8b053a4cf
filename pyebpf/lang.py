"""The vocabulary of a program: integer types, structs, globals, constants of the kernel, functions of the language.

Everything here has two lives. In user space it is an ordinary Python object; in a program the compiler looks only
at the declaration in ``__bpf__`` (``pyebpf.declare``). Type checkers see the integer types as ``int`` and fields as
what reading them gives.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable

from pyebpf import declare, layout
from pyebpf.declare import Builtin, FunctionDecl, FunctionStyle, GlobalDecl, License
from pyebpf.hints import (
    TYPE_CHECKING,
    Any,
    Generic,
    TypeVar,
    cast,
    dataclass_transform,
    is_type_variable,
    overload,
)
from pyebpf.layout import ArrayType, BytesType, IntType, Layout, StructType
from pyebpf.structs import Struct, zero

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:
    from typing import TypeAlias

    u8: TypeAlias = int
    u16: TypeAlias = int
    u32: TypeAlias = int
    u64: TypeAlias = int
    i8: TypeAlias = int
    i16: TypeAlias = int
    i32: TypeAlias = int
    i64: TypeAlias = int
    be16: TypeAlias = int
    be32: TypeAlias = int
    be64: TypeAlias = int
    le16: TypeAlias = int
    le32: TypeAlias = int
    le64: TypeAlias = int
else:
    u8, u16, u32, u64 = layout.U8, layout.U16, layout.U32, layout.U64
    i8, i16, i32, i64 = layout.I8, layout.I16, layout.I32, layout.I64
    be16, be32, be64 = layout.BE16, layout.BE32, layout.BE64
    le16, le32, le64 = layout.LE16, layout.LE32, layout.LE64


# ---------------------------------------------------------------- structs


class FieldSpec:
    """What ``chars(n)`` and ``array(T, n)`` give as a class attribute: the layout of a field."""

    __slots__ = ("layout",)

    def __init__(self, field_layout: Layout) -> None:
        self.layout = field_layout


def chars(length: int) -> Any:
    """Up to ``length`` bytes: a field of a struct, or (called in a program) a zeroed local byte string."""
    if length < 1:
        raise ValueError(f"chars({length}): the length must be at least 1")
    return FieldSpec(BytesType(length))


def array(element: Any, length: int) -> Any:
    """``length`` elements of a type: a field of a struct, or (called in a program) a zeroed local array."""
    if length < 1:
        raise ValueError(f"array(…, {length}): the length must be at least 1")
    return FieldSpec(ArrayType(layout_of(element), length))


def layout_of(annotation: object) -> Layout:
    """The layout that a type of this module, a struct class, ``chars(n)`` or ``array(T, n)`` stands for.

    Raises TypeError for anything else.
    """
    if isinstance(annotation, FieldSpec):
        return annotation.layout
    found = declare.declaration_of(annotation)
    if isinstance(found, IntType | BytesType | ArrayType | StructType):
        return found
    name = getattr(annotation, "__name__", repr(annotation))
    raise TypeError(
        f"{name} has no memory layout: use u8 … u64, i8 … i64, be16 …, a @bpf.struct class, chars(n), array(T, n)"
    )


def _struct(cls: type, packed: bool, union: bool) -> type:
    annotations = cls.__dict__.get("__annotations__", {})
    frame = sys._getframe(2)
    scope = {**sys.modules[cls.__module__].__dict__, **frame.f_locals}
    members: list[tuple[str, Layout]] = []
    for name, annotation in annotations.items():
        spec = cls.__dict__.get(name)
        if isinstance(spec, FieldSpec):
            members.append((name, spec.layout))
            continue
        if spec is not None and spec != 0:
            raise TypeError(f"{cls.__name__}.{name}: the only default of a field is 0; memory starts zeroed")
        if isinstance(annotation, str):
            annotation = eval(annotation, scope)  # the user's own module, as typing.get_type_hints does
        try:
            members.append((name, layout_of(annotation)))
        except TypeError as error:
            raise TypeError(f"{cls.__name__}.{name}: {error}") from None
    if not members:
        raise TypeError(f"{cls.__name__} has no annotated fields")
    body = {
        k: v for k, v in cls.__dict__.items() if k not in annotations and k not in ("__dict__", "__weakref__")
    }
    body["__slots__"] = tuple(name for name, _ in members)
    made = types.new_class(cls.__name__, (Struct,), exec_body=lambda namespace: namespace.update(body))
    made.__bpf__ = layout.struct_type(cls.__name__, members, packed=packed, union=union, python_class=made)  # type: ignore[attr-defined]  # the class made here has it
    return made


@overload
def struct(cls: type[T], /) -> type[T]: ...
@overload
def struct(*, packed: bool = ...) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(eq_default=True, field_specifiers=(chars, array))
def struct(cls: type[T] | None = None, /, *, packed: bool = False) -> type[T] | Callable[[type[T]], type[T]]:
    """Make a class of annotated fields a C struct: alignment and padding as in C, or none with ``packed=True``.

    Values are built with positions or keywords; a field that is not given is zero. ``count: u32 = 0`` tells type
    checkers that a field may be left out.
    """
    if cls is not None:
        return _struct(cls, packed, union=False)

    def decorate(inner: type[T]) -> type[T]:
        return _struct(inner, packed, union=False)

    return decorate


@dataclass_transform(eq_default=True, field_specifiers=(chars, array))
def union(cls: type[T]) -> type[T]:
    """Make a class of annotated fields a C union: all fields share the first byte."""
    return _struct(cls, packed=False, union=True)


# ---------------------------------------------------------------- variables shared with user space


class _Variable(Generic[T]):
    """What ``Global`` and ``Const`` have in common. ``value`` is read and written on both sides."""

    __bpf__: GlobalDecl

    if not TYPE_CHECKING:

        def __class_getitem__(cls, annotation: Any) -> Any:
            if is_type_variable(annotation):
                return super().__class_getitem__(annotation)
            of = layout_of(annotation)
            return lambda initial=None, *, name=None: cls._make(of, initial, name)

    def __init__(self, initial: T | None = None, *, name: str | None = None) -> None:
        raise TypeError(f"say what it holds: bpf.{type(self).__name__}[u64]({initial!r})")

    @classmethod
    def _make(cls, of: Layout, initial: Any, name: str | None) -> Any:
        self = object.__new__(cls)
        decl = GlobalDecl(of, zero(of) if initial is None else initial, constant=cls is Const, name=name)
        self.__bpf__ = decl
        return self

    @property
    def value(self) -> T:
        """The current value: of the loaded program, or the initial one before loading."""
        from pyebpf.session import read_global

        return cast("T", read_global(self.__bpf__))

    @value.setter
    def value(self, new: T) -> None:
        from pyebpf.session import write_global

        write_global(self.__bpf__, new)

    def __repr__(self) -> str:
        return f"{type(self).__name__}[{self.__bpf__.layout.name}]({self.__bpf__.initial!r})"


class Global(_Variable[T]):
    """A variable in ``.data`` or ``.bss``: ``hits = bpf.Global[u64](0)``, then ``hits.value`` on both sides."""


class Const(_Variable[T]):
    """A constant in ``.rodata``: may be set until the program is loaded, then the kernel knows it as fixed."""


# ---------------------------------------------------------------- functions


def function(func: F) -> F:
    """Mark a function that programs call: compiled as a static subprogram, inlined where that is smaller.

    A plain function that is called is compiled the same way; the mark documents it. In Python it stays callable.
    """
    func.__bpf__ = FunctionDecl(cast("types.FunctionType", func))  # type: ignore[attr-defined]  # functions take attributes
    return func


def inline(func: F) -> F:
    """Mark a function that is always inlined."""
    func.__bpf__ = FunctionDecl(cast("types.FunctionType", func), FunctionStyle.ALWAYS_INLINE)  # type: ignore[attr-defined]  # as above
    return func


def noinline(func: F) -> F:
    """Mark a function that always stays a subprogram of its own."""
    func.__bpf__ = FunctionDecl(cast("types.FunctionType", func), FunctionStyle.NEVER_INLINE)  # type: ignore[attr-defined]  # as above
    return func


def global_function(func: F) -> F:
    """Mark a function that the kernel verifies once, on its own, for any arguments of its annotated types."""
    func.__bpf__ = FunctionDecl(cast("types.FunctionType", func), FunctionStyle.GLOBAL)  # type: ignore[attr-defined]  # as above
    return func


def license(text: str) -> None:
    """State the licence of the calling module's programs.

    The kernel compares it exactly; GPL-only helpers need ``GPL``, ``GPL v2``, ``GPL and additional rights``,
    ``Dual BSD/GPL``, ``Dual MIT/GPL`` or ``Dual MPL/GPL``.
    """
    if not isinstance(text, str) or len(text.encode()) > 127 or "\0" in text:
        raise ValueError("a licence is a string of at most 127 bytes without NUL")
    module = sys._getframe(1).f_globals.get("__name__", "__main__")
    declare.LICENSES[module] = License(text, module)


class InProgramOnly(TypeError):
    """A function of the language was called in user space, where it has no meaning."""


def in_program(name: str) -> InProgramOnly:
    """What a function of the language raises in user space."""
    return InProgramOnly(f"bpf.{name} works inside programs only")


def builtin(which: Builtin) -> Callable[[F], F]:
    """Mark a function as one that the compiler knows."""

    def mark(func: F) -> F:
        func.__bpf__ = which  # type: ignore[attr-defined]  # functions take attributes
        return func

    return mark


chars.__bpf__ = Builtin.CHARS  # type: ignore[attr-defined]  # functions take attributes
array.__bpf__ = Builtin.ARRAY  # type: ignore[attr-defined]  # functions take attributes


@builtin(Builtin.LOOP)
def loop(count: int, body: Callable[..., object], state: object = None) -> int:
    """Call ``body(i)``, or ``body(i, state)``, for i from 0 to ``count - 1`` until it returns something true.

    Returns the number of calls. In programs this is the kernel's ``bpf_loop`` (5.17), which is verified once
    however large ``count`` is; more than 8,388,608 rounds are refused.
    """
    for i in range(count):
        if body(i) if state is None else body(i, state):
            return i + 1
    return count


@builtin(Builtin.COPY)
def copy(value: T) -> T:
    """A new object with the same contents (plain assignment makes a second name for the same object)."""
    import copy as copying

    return copying.deepcopy(value)


@builtin(Builtin.SIZEOF)
def sizeof(of: object) -> int:
    """The size in bytes of a type, or of the type of a value."""
    return layout_of(of if isinstance(of, type | IntType | FieldSpec) else type(of)).size


@builtin(Builtin.CHECKED)
def checked(result: T) -> T:
    """Around a helper's call: raise ``OSError`` for a negative result and ``ReferenceError`` for a null pointer."""
    raise in_program("checked")


def _swap(value: int, size: int) -> int:
    low = (value & ((1 << (8 * size)) - 1)).to_bytes(size, sys.byteorder)
    return int.from_bytes(low, "big")


@builtin(Builtin.HTONS)
def htons(value: int) -> int:
    """The low 16 bits in network byte order."""
    return _swap(value, 2)


@builtin(Builtin.HTONL)
def htonl(value: int) -> int:
    """The low 32 bits in network byte order."""
    return _swap(value, 4)


@builtin(Builtin.HTONLL)
def htonll(value: int) -> int:
    """The low 64 bits in network byte order."""
    return _swap(value, 8)


@builtin(Builtin.NTOHS)
def ntohs(value: int) -> int:
    """A 16-bit number in network byte order, as a number."""
    return _swap(value, 2)


@builtin(Builtin.NTOHL)
def ntohl(value: int) -> int:
    """A 32-bit number in network byte order, as a number."""
    return _swap(value, 4)


@builtin(Builtin.NTOHLL)
def ntohll(value: int) -> int:
    """A 64-bit number in network byte order, as a number."""
    return _swap(value, 8)


@builtin(Builtin.LOG2)
def log2(value: int) -> int:
    """The floor of the binary logarithm of the low 64 bits; 0 for 0."""
    return max((value & ((1 << 64) - 1)).bit_length() - 1, 0)


@builtin(Builtin.LOG2L)
def log2l(value: int) -> int:
    """The same as ``log2``, under BCC's name."""
    return log2(value)


@builtin(Builtin.SNPRINTF)
def snprintf(buffer: object, text: str) -> int:
    """Format an f-string into a byte buffer (``bpf_snprintf``); the length that it needs, NUL included."""
    raise in_program("snprintf")
