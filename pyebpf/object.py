"""The contract between compiling and loading: what an eBPF object holds, as plain data.

The compiler makes an ``ObjectSpec``, the ELF reader makes one from anybody's ``.o``; the ELF writer and the
loader consume it. Code is bytes in the target's byte order, as it stands in an ELF section before linking;
places in code are *slots* (8 bytes; ``ld_imm64`` takes two), counted from the start of the function.

An instruction with a relocation has a normal form, whatever the object said: ``ld_imm64`` (MAP, DATA, FUNC,
EXTERN) has src 0, offset 0 and 64 zero bits of immediate; ``call`` (CALL, KFUNC) has src 1, offset 0 and
imm -1. Every call between functions and every address of a function is a relocation, also within one
section. The numbers are in the ``Relocation`` alone.
"""

from __future__ import annotations

from pyebpf import enums
from pyebpf.declare import MapDecl
from pyebpf.diagnostics import InternalError
from pyebpf.hints import TYPE_CHECKING
from pyebpf.layout import Layout
from pyebpf.records import dataclass, field
from pyebpf.uapi.constants import AttachType, MapType, ProgType

if TYPE_CHECKING:
    from typing import Final

    from pyebpf import btf

SLOT_BYTES: Final = 8
"""``struct bpf_insn``."""


class Linkage(enums.Enum):
    """Whether a function can be seen from outside: STATIC is verified at each call, GLOBAL on its own."""

    STATIC = "static"
    GLOBAL = "global"


class RelocKind(enums.Enum):
    """What a relocation puts into its instruction."""

    MAP = "map"  # ld_imm64: the map ``symbol``
    DATA = "data"  # ld_imm64: the variable ``symbol`` of a data section (or the section + addend)
    CALL = "call"  # call: the function ``symbol``
    FUNC = "func"  # ld_imm64: the address of the function ``symbol``, for callbacks
    KFUNC = "kfunc"  # call: the kernel function ``symbol``
    EXTERN = "extern"  # ld_imm64: the address of the .kconfig or .ksyms extern ``symbol``


class Pseudo(enums.IntEnum):
    """What the 64 bits of ``ld_imm64`` mean, in ``src`` (linux/bpf.h, BPF_PSEUDO_*)."""

    NONE = 0
    MAP_FD = 1
    MAP_VALUE = 2  # low half the map's fd, high half the offset
    BTF_ID = 3  # low half the id of a kernel variable, high half the fd of its BTF
    FUNC = 4  # low half the distance to a function, in slots
    MAP_IDX = 5  # as MAP_FD, by index into fd_array
    MAP_IDX_VALUE = 6


class CallKind(enums.IntEnum):
    """What ``call`` calls, in ``src``."""

    HELPER = 0
    SUBPROGRAM = 1
    KFUNC = 2  # offset: index into fd_array, 0 is vmlinux


@dataclass(frozen=True, slots=True)
class Relocation:
    """One reference out of a function. ``section`` and ``addend`` (bytes) are used by DATA only: the target
    is ``addend`` bytes into the variable ``symbol`` of ``section``, or into ``section`` where ``symbol`` is
    empty.
    """

    slot: int
    kind: RelocKind
    symbol: str
    section: str = ""
    addend: int = 0


@dataclass(frozen=True, slots=True)
class LineInfo:
    """The source of the instruction at ``slot`` and of those after it up to the next record."""

    slot: int
    file: str
    line: int
    column: int
    text: str


@dataclass(frozen=True, slots=True)
class CoreRelocation:
    """A CO-RE record: kind number, root type and access string as in ``.BTF.ext`` (object files of others
    have them).
    """

    slot: int
    kind: int
    type: btf.Type
    access: str


@dataclass(slots=True)
class FunctionSpec:
    """A subprogram: code, references and debug information."""

    name: str
    code: bytes
    linkage: Linkage = Linkage.STATIC
    relocations: tuple[Relocation, ...] = ()
    lines: tuple[LineInfo, ...] = ()
    core: tuple[CoreRelocation, ...] = ()
    type: btf.Func | None = None
    section: str = ".text"


@dataclass(slots=True)
class ProgramSpec(FunctionSpec):
    """An entry point. ``section`` is its SEC name without the ``?`` of those that are not loaded by default
    (``autoload``); the type fields may be overridden before loading. Entry points are visible from outside. ``arguments``:
    the numbers of those of a USDT probe that it reads, ``None`` where nobody knows.
    """

    linkage: Linkage = Linkage.GLOBAL
    prog_type: ProgType = ProgType.UNSPEC
    attach_type: AttachType | None = None
    flags: int = 0
    autoload: bool = True
    arguments: tuple[int, ...] | None = None


class Pinning(enums.IntEnum):
    """libbpf's ``pinning`` attribute."""

    NONE = 0
    BY_NAME = 1


@dataclass(slots=True)
class MapSpec:
    """A map as it is to be created. ``key`` and ``value`` are layouts where the compiler made the map;
    ``key_type`` and ``value_type`` their BTF; sizes in bytes. ``slots`` are initial contents by index:
    names of inner maps or programs.

    A ``STRUCT_OPS`` map is the instance of a kernel struct of operations: ``value_type`` is the struct,
    ``contents`` its initial bytes, ``slots`` the programs by offset in bytes, and the flag ``LINK`` tells
    ``.struct_ops.link``.
    """

    name: str
    type: MapType
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    key: Layout | None = None
    value: Layout | None = None
    key_type: btf.Type | None = None
    value_type: btf.Type | None = None
    pinning: Pinning = Pinning.NONE
    map_extra: int = 0
    numa_node: int | None = None
    inner: MapSpec | None = None
    slots: dict[int, str] = field(default_factory=dict)
    contents: bytes = b""


_EVENT_SIZES: Final = {MapType.RINGBUF: (0, 0), MapType.PERF_EVENT_ARRAY: (4, 4)}
"""Sizes of key and value of maps whose declared value is an event, which is not what the kernel calls their value."""


def map_spec(decl: MapDecl) -> MapSpec:
    """The declared map as it is to be created. It must have its name."""
    if decl.name is None:
        raise InternalError("a map without a name", phase="making an object")
    sizes = (decl.key.size if decl.key else 0, decl.value.size if decl.value else 0)
    key_size, value_size = _EVENT_SIZES.get(decl.type, sizes)
    return MapSpec(
        name=decl.name,
        type=decl.type,
        key_size=key_size,
        value_size=value_size,
        max_entries=decl.max_entries,
        flags=decl.flags,
        key=decl.key,
        value=decl.value,
        pinning=Pinning.BY_NAME if decl.pinned else Pinning.NONE,
    )


@dataclass(slots=True)
class Variable:
    """A variable at ``offset`` bytes of its section. A static one is not shown to users."""

    name: str
    offset: int
    size: int
    type: btf.Type | None = None
    layout: Layout | None = None
    static: bool = False


@dataclass(slots=True)
class DataSection:
    """``.data``, ``.bss``, ``.rodata`` or a variant. ``contents`` has the full size, zeros for ``.bss``."""

    name: str
    contents: bytearray = field(default_factory=bytearray)
    variables: list[Variable] = field(default_factory=list)
    align: int = 8

    @property
    def read_only(self) -> bool:
        """Programs may only read it, and it is frozen before the first program is loaded."""
        return self.name.startswith(".rodata") or self.name == ".kconfig"

    def variable(self, name: str) -> Variable | None:
        """The variable called ``name``, if there is one."""
        return next((v for v in self.variables if v.name == name), None)


@dataclass(frozen=True, slots=True)
class Extern:
    """A symbol that the loader resolves: a kernel function, a kernel variable or a kernel configuration
    value. ``section`` is ``.ksyms`` or ``.kconfig``; ``type`` is a ``btf.Func`` for functions, otherwise
    the type of the variable: ``btf.Const(None)`` for one whose type is not known.
    """

    name: str
    section: str
    type: btf.Type
    weak: bool = False


@dataclass(slots=True)
class ObjectSpec:
    """An eBPF object. Names are unique among programs and functions, and among maps and data sections."""

    programs: dict[str, ProgramSpec] = field(default_factory=dict)
    functions: dict[str, FunctionSpec] = field(default_factory=dict)
    maps: dict[str, MapSpec] = field(default_factory=dict)
    data: dict[str, DataSection] = field(default_factory=dict)
    externs: dict[str, Extern] = field(default_factory=dict)
    license: str = ""
    little_endian: bool = True


# ---------------------------------------------------------------- ready for the kernel


@dataclass(frozen=True, slots=True)
class Reference:
    """A relocation at its final ``slot``."""

    slot: int
    relocation: Relocation
    function: str


@dataclass(frozen=True, slots=True)
class CoreReference:
    """A CO-RE record at its final ``slot``. ``type``: the id of its root type in ``Prepared.core_types``; ``function``: the
    one that it was in."""

    slot: int
    kind: int
    type: int
    access: str
    function: str


@dataclass(frozen=True, slots=True)
class PreparedProgram:
    """A program with everything that it calls, in one piece: ready but for the references in ``open`` and ``core``.

    ``func_info`` and ``line_info`` are records as the system call takes them.
    """

    program: ProgramSpec
    code: bytes
    open: tuple[Reference, ...]
    func_info: bytes
    line_info: bytes
    core: tuple[CoreReference, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """An object as far as it can be made ready without a kernel (``pyebpf.runtime.prepare``).

    ``types``: ``.BTF`` of everything, empty where there is none. ``map_types`` and ``section_types``: the ids in it of
    a map's key and value, and of a data section, by name, of those that are made with type information. ``object``
    is looked at for maps, contents of data and externs. ``core_types``: ``.BTF`` of what CO-RE records refer to, which
    the kernel does not get: bytes, since types refer to each other in circles.
    """

    object: ObjectSpec
    programs: tuple[PreparedProgram, ...]
    types: bytes
    map_types: dict[str, tuple[int, int]]
    section_types: dict[str, int]
    core_types: bytes = b""
