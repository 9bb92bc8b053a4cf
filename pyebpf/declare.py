"""What a program may refer to, as plain data: the meeting point of the user's module and the compiler.

The names in ``pyebpf.lang`` are Python objects with behaviour in user space; each carries one of these
declarations in the attribute ``__bpf__``, and that is all the compiler looks at (``declaration_of``). So the front
end never imports the user-facing layer.
"""

from __future__ import annotations

import types

from pyebpf import enums
from pyebpf.hints import Any
from pyebpf.layout import ArrayType, BytesType, IntType, Layout, StructType
from pyebpf.records import dataclass
from pyebpf.uapi.constants import MapType
from pyebpf.uapi.contexts import Context
from pyebpf.uapi.programs import ProgramKind


class Builtin(enums.Enum):
    """Functions of the language that are not helpers: the compiler gives each its meaning."""

    LOOP = "loop"  # bpf.loop(n, body, state): bpf_loop
    COPY = "copy"  # bpf.copy(x)
    SIZEOF = "sizeof"  # bpf.sizeof(type or value)
    CHECKED = "checked"  # bpf.checked(helper(...)): raises instead of returning an error
    CHARS = "chars"  # bpf.chars(n): a zeroed local byte string
    ARRAY = "array"  # bpf.array(T, n): a zeroed local array
    HTONS = "htons"
    HTONL = "htonl"
    HTONLL = "htonll"
    NTOHS = "ntohs"
    NTOHL = "ntohl"
    NTOHLL = "ntohll"
    LOG2 = "log2"  # bpf.log2(x): floor of the binary logarithm, 0 for 0
    LOG2L = "log2l"  # the same for 64 bits (BCC's name)
    SNPRINTF = "snprintf"  # bpf.snprintf(buffer, f"...")
    TRACE_PRINT = "trace_print"  # user space only: refused in programs
    CAST = "cast"  # bpf.cast(T, address)
    CONTAINER_OF = "container_of"  # bpf.container_of(address, T, "member")
    READ_KERNEL = "read_kernel"  # bpf.read_kernel(T, address)
    READ_USER = "read_user"
    STR_FROM_KERNEL = "str_from_kernel"  # bpf.str_from_kernel(address, n)
    STR_FROM_USER = "str_from_user"
    FIELD_EXISTS = "field_exists"  # bpf.field_exists(T, "field")
    FIELD_OFFSET = "field_offset"
    FIELD_SIZE = "field_size"
    TYPE_EXISTS = "type_exists"
    TYPE_SIZE = "type_size"
    ENUM_VALUE = "enum_value"  # bpf.enum_value(T, "NAME")
    ENUM_EXISTS = "enum_exists"
    KCONFIG = "kconfig"  # bpf.kconfig("CONFIG_HZ")
    KERNEL_VERSION = "kernel_version"


@dataclass(frozen=True, slots=True)
class Buffers:
    """Perf buffers of user space: ``pages`` of memory for each CPU, a power of two; a waiting consumer is woken after
    ``wakeup`` records on a CPU."""

    pages: int
    wakeup: int


@dataclass(eq=False, slots=True, weakref_slot=True)
class MapDecl:
    """A map of the user's module. ``name`` is given, or found by the compiler from the variable that holds it.

    ``key`` and ``value`` are ``None`` where the type has none (queues have no key, ring buffers neither).
    ``default`` is the value that reading a missing key inserts. ``flags`` are those of ``BPF_MAP_CREATE``.
    ``buffers``: of a perf event array, opened when it is made, so that no event is lost between loading and reading.
    """

    type: MapType
    key: Layout | None
    value: Layout | None
    max_entries: int
    flags: int = 0
    default: int | None = None
    name: str | None = None
    pinned: bool = False
    buffers: Buffers | None = None


@dataclass(eq=False, slots=True, weakref_slot=True)
class GlobalDecl:
    """A variable shared with user space. ``constant``: it lies in ``.rodata`` and may be set only before loading.

    ``section``: the data section that the driver put it into, so that programs compiled apart agree on it.
    """

    layout: Layout
    initial: Any
    constant: bool = False
    name: str | None = None
    section: str | None = None


class FunctionStyle(enums.Enum):
    """How a Python function that programs call is compiled."""

    PLAIN = "plain"  # @bpf.function or undecorated: static, inlined where that is smaller
    ALWAYS_INLINE = "always_inline"
    NEVER_INLINE = "never_inline"
    GLOBAL = "global"  # @bpf.global_function: verified by the kernel on its own


@dataclass(eq=False, slots=True)
class FunctionDecl:
    """A decorated function that programs call."""

    function: types.FunctionType
    style: FunctionStyle = FunctionStyle.PLAIN


@dataclass(eq=False, slots=True, weakref_slot=True)
class ProgramDecl:
    """A program: the function, the row of its type, and what the user asked for.

    ``on_error``: the verdict for errors that nobody handles, where the user chose one. ``flags``: of ``BPF_PROG_LOAD``.
    ``target``: what the decorator named, such as a kernel function; it is part of the kind's section too.
    """

    function: types.FunctionType
    kind: ProgramKind
    name: str
    on_error: int | None = None
    flags: int = 0
    target: str = ""


@dataclass(frozen=True, slots=True)
class HelperDecl:
    """A kernel helper by its name without ``bpf_``; the row is in ``pyebpf.uapi.helpers``."""

    name: str


@dataclass(frozen=True, slots=True)
class ContextDecl:
    """A context class used in annotations, such as ``bpf.SkBuff``. ``kind`` is its row."""

    context: Context


@dataclass(frozen=True, slots=True)
class KernelTypeDecl:
    """A type of the kernel by its name, which the target's type information explains. ``local``: how the program itself
    declares it (``@bpf.kernel_struct``), for fields that other kernels have."""

    name: str
    local: StructType | None = None


@dataclass(frozen=True, slots=True)
class UserDecl:
    """``bpf.User[T]``: an address in the memory of the current task. ``layout``: of what is there, None for bytes."""

    layout: Layout | None


@dataclass(eq=False, slots=True)
class License:
    """The licence string of a module, as ``bpf.license(...)`` recorded it."""

    text: str
    module: str


Declaration = (
    IntType
    | BytesType
    | ArrayType
    | StructType
    | MapDecl
    | GlobalDecl
    | FunctionDecl
    | ProgramDecl
    | HelperDecl
    | ContextDecl
    | KernelTypeDecl
    | UserDecl
    | Builtin
)

LICENSES: dict[str, License] = {}
"""Licence of each module by ``__name__``, filled by ``bpf.license``."""


def declaration_of(value: object) -> Declaration | None:
    """The declaration that ``value`` stands for in a program, or ``None`` for an ordinary Python value."""
    if isinstance(value, IntType | StructType | BytesType | ArrayType):
        return value
    found = getattr(value, "__bpf__", None)
    return found if isinstance(found, Declaration) else None
