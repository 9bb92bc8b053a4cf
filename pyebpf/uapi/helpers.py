"""What the compiler knows of each BPF helper: signature, the verifier's demands, who may call it and from
when.

Look rows up with ``helper_by_name`` and ``helper_by_id``; they are built from ``helper_table.py`` when first
asked for, so that importing this module is cheap. Names lack C's ``bpf_``. A helper may have several
prototypes, because some program types pass it another kind of object (a socket where others pass the
context): ``Helper.prototype(prog_type)`` answers for one program type.

The notation of the table, for arguments and results: ``KIND``, then marks (``?`` may be null, ``!`` the
reference is released, ``+`` a reference that the program must release, ``r`` read-only), then ``:detail``
(the size in bytes of memory that has no size argument, or the name of a kernel struct). Where kernels from
6.1 on differ, the row says what the strictest demands.
"""

from __future__ import annotations

import re
from functools import cache

from pyebpf import enums
from pyebpf.records import dataclass, replace
from pyebpf.uapi import releases
from pyebpf.uapi.constants import AttachType, MapType, ProgType
from pyebpf.uapi.helper_table import TABLE

Release = tuple[int, int]


class ArgKind(enums.Enum):
    """What the verifier demands of an argument: the kernel's ``enum bpf_arg_type``, by what it means to a
    compiler.

    Memory comes in three kinds: read by the helper (must be initialised), written (need not be), and both.
    Memory without a fixed size is followed by its size argument.
    """

    SCALAR = "scalar"  # any integer; also addresses that the helper itself checks
    CTX = "ctx"
    MAP = "map"  # a map known while the program is verified
    MAP_KEY = "map_key"  # read, as large as the map's key
    MAP_VALUE = "map_value"  # read, as large as the map's value
    UNINIT_MAP_VALUE = "uninit_map_value"  # written, as large as the map's value
    MEM = "mem"  # read
    UNINIT_MEM = "uninit_mem"  # written
    RDWR_MEM = "rdwr_mem"  # must be initialised, and is written
    CONST_SIZE = "const_size"  # size in bytes of the memory before; bounded, not zero
    CONST_SIZE_OR_ZERO = "const_size_or_zero"
    ALLOC_SIZE = "alloc_size"  # a constant: how many bytes the result has
    FUNC = "func"  # a callback
    STACK = "stack"  # the callback's own argument: a pointer to stack, or null
    BTF_ID = "btf_id"  # a kernel object of the struct named
    BTF_ID_SOCK_COMMON = "btf_id_sock_common"  # any socket, the verifier's or a kernel object
    SOCK_COMMON = "sock_common"  # any of the verifier's socket types
    SOCKET = "socket"  # a full socket
    PERCPU_BTF_ID = "percpu_btf_id"  # a per-CPU kernel variable
    CONST_STR = "const_str"  # a NUL-terminated string in read-only data
    SPIN_LOCK = "spin_lock"
    TIMER = "timer"
    DYNPTR = "dynptr"
    UNINIT_DYNPTR = "uninit_dynptr"  # initialised by the helper
    KPTR = "kptr"  # a field of a map value that holds a kernel pointer
    RINGBUF_MEM = "ringbuf_mem"  # a record as ringbuf_reserve returned it


READ = frozenset({ArgKind.MAP_KEY, ArgKind.MAP_VALUE, ArgKind.MEM, ArgKind.RDWR_MEM, ArgKind.CONST_STR})
WRITTEN = frozenset({ArgKind.UNINIT_MAP_VALUE, ArgKind.UNINIT_MEM, ArgKind.RDWR_MEM})
SIZES = frozenset({ArgKind.CONST_SIZE, ArgKind.CONST_SIZE_OR_ZERO})


class ReturnKind(enums.Enum):
    """What a helper returns: the kernel's ``enum bpf_return_type``. Nullness is in ``Return.nullable``."""

    INTEGER = "integer"
    VOID = "void"
    MAP_VALUE = "map_value"
    RINGBUF_MEM = "ringbuf_mem"  # as many bytes as the ALLOC_SIZE argument says
    DYNPTR_MEM = "dynptr_mem"  # likewise
    SOCKET = "socket"
    TCP_SOCK = "tcp_sock"
    SOCK_COMMON = "sock_common"
    XDP_SOCK = "xdp_sock"
    MAP = "map"  # the inner map of a map of maps
    BTF_ID = "btf_id"
    MEM_OR_BTF_ID = "mem_or_btf_id"  # depends on the type of the per-CPU variable passed


class PacketEffect(enums.Enum):
    """What becomes of pointers into the packet. The verifier forgets them all in both latter cases."""

    NONE = "none"
    KEEPS_OFFSETS = (
        "keeps_offsets"  # the same offset is the same byte, once pointers are loaded and checked again
    )
    SHIFTS = "shifts"  # the same offset may be another byte


class ConditionKind(enums.Enum):
    """What, besides program type and release, decides whether a program may call a helper."""

    CONFIG = "config"  # value: the kernel's configuration option
    CAPABILITY = "capability"  # value: CAP_BPF, CAP_PERFMON or CAP_SYS_ADMIN of the process that loads
    LOCKDOWN = "lockdown"  # value: the lockdown reason that must not be in force
    ATTACH_TYPE = "attach_type"  # attach_types: one of these
    ATTACH_TARGET = "attach_target"  # value: the kernel's list or predicate that the target must satisfy
    SLEEPABLE = "sleepable"  # only sleepable programs


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must hold, for programs of ``program_types``."""

    kind: ConditionKind
    program_types: frozenset[ProgType]
    value: str = ""
    attach_types: frozenset[AttachType] = frozenset()


@dataclass(frozen=True, slots=True)
class HelperArg:
    """An argument. ``size``: bytes of memory that has no size argument. ``btf_type``: the kernel struct of a
    BTF_ID, '' where it follows from another argument. ``releases``: the call takes the reference over."""

    name: str
    c_type: str
    kind: ArgKind
    nullable: bool = False
    releases: bool = False
    size: int | None = None
    btf_type: str = ""


@dataclass(frozen=True, slots=True)
class Return:
    """A result. ``bits`` and ``signed`` are the C type's; ``acquires``: a reference that must be released."""

    kind: ReturnKind
    c_type: str
    bits: int = 64
    signed: bool = False
    nullable: bool = False
    acquires: bool = False
    read_only: bool = False
    btf_type: str = ""


@dataclass(frozen=True, slots=True)
class Prototype:
    """What the verifier demands of a call. ``packet_access``: memory arguments may point into the packet."""

    args: tuple[HelperArg, ...]
    returns: Return
    gpl_only: bool
    packet_access: bool


@dataclass(frozen=True, slots=True)
class Availability:
    """Program types that may call a helper on the same terms, from the kernel release ``since`` on."""

    program_types: frozenset[ProgType]
    prototype: Prototype
    since: Release
    conditions: tuple[Condition, ...]

    def admits(self, attach_type: AttachType) -> bool:
        """Whether programs for ``attach_type`` are among those meant."""
        demanded = (c.attach_types for c in self.conditions if c.kind is ConditionKind.ATTACH_TYPE)
        return all(attach_type in attach_types for attach_types in demanded)


@dataclass(frozen=True, slots=True)
class Helper:
    """A helper. ``name`` is without ``bpf_``; ``since`` the first kernel release that has it, for any
    program.

    ``map_types``: those that its MAP argument may have (updating and deleting in a SOCKMAP or SOCKHASH is for
    some program types only). ``variadic``: further integer arguments may follow, five in all (trace_printk).
    An EXT program may call what the program that it replaces may; EXT is therefore in no ``program_types``.
    """

    id: int
    name: str
    since: Release
    c_returns: str
    c_args: str
    packet_effect: PacketEffect
    map_types: frozenset[MapType]
    prototypes: tuple[Prototype, ...]
    availability: tuple[Availability, ...]

    @property
    def c_signature(self) -> str:
        """The C declaration, as in the UAPI header."""
        space = "" if self.c_returns.endswith("*") else " "
        return f"{self.c_returns}{space}bpf_{self.name}({self.c_args or 'void'})"

    @property
    def variadic(self) -> bool:
        """Whether further integers may follow the arguments."""
        return self.c_args.endswith("...")

    @property
    def program_types(self) -> frozenset[ProgType]:
        """All program types that may call it, on some terms."""
        return frozenset().union(*(group.program_types for group in self.availability))

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions of all program types; each names those for which it counts."""
        return tuple(condition for group in self.availability for condition in group.conditions)

    @property
    def changes_packet(self) -> bool:
        """Whether the verifier forgets all pointers into the packet at a call."""
        return self.packet_effect is not PacketEffect.NONE

    @property
    def may_sleep(self) -> bool:
        """Whether only sleepable programs may call it."""
        return any(condition.kind is ConditionKind.SLEEPABLE for condition in self.conditions)

    @property
    def args(self) -> tuple[HelperArg, ...]:
        """The arguments of the first prototype; ``prototype(prog_type).args`` where the program type is
        known."""
        return self.prototypes[0].args

    @property
    def returns(self) -> Return:
        """The result of the first prototype."""
        return self.prototypes[0].returns

    @property
    def gpl_only(self) -> bool:
        """Whether every prototype asks for a GPL-compatible licence."""
        return all(prototype.gpl_only for prototype in self.prototypes)

    def available(self, prog_type: ProgType, attach_type: AttachType | None = None) -> Availability | None:
        """On which terms programs of ``prog_type`` may call it; None where no kernel allows it.

        Terms can differ by attach type; without one, those that come first in the table are meant. Plain
        kprobes are told from others as ``AttachType.PERF_EVENT``.
        """
        for group in self.availability:
            if prog_type in group.program_types and (attach_type is None or group.admits(attach_type)):
                return group
        return None

    def since_in(self, prog_type: ProgType, attach_type: AttachType | None = None) -> Release | None:
        """The first kernel release in which programs of ``prog_type`` may call it; None if they never may."""
        group = self.available(prog_type, attach_type)
        return None if group is None else max(group.since, releases.PROG_TYPES[prog_type])

    def prototype(
        self, prog_type: ProgType, attach_type: AttachType | None = None, map_type: MapType | None = None
    ) -> Prototype:
        """The prototype that programs of ``prog_type`` get, with a map of ``map_type`` where the helper takes
        one.

        Raises:
            LookupError: such programs may not call it on any kernel.
        """
        group = self.available(prog_type, attach_type)
        if group is None:
            raise LookupError(f"bpf_{self.name} is not for programs of type {prog_type.name}")
        return group.prototype if map_type is None else _with_map(self.name, group.prototype, map_type)


# What looking an element up gives in maps whose elements are not memory (mark_ptr_not_null_reg() in the
# verifier).
_ELEMENTS = {
    MapType.SOCKMAP: ReturnKind.SOCKET,
    MapType.SOCKHASH: ReturnKind.SOCKET,
    MapType.XSKMAP: ReturnKind.XDP_SOCK,
    MapType.ARRAY_OF_MAPS: ReturnKind.MAP,
    MapType.HASH_OF_MAPS: ReturnKind.MAP,
}


def _with_map(name: str, prototype: Prototype, map_type: MapType) -> Prototype:
    """``prototype`` as it is for maps of ``map_type`` (resolve_map_arg_type() in the verifier)."""
    args, returns = prototype.args, prototype.returns
    if returns.kind is ReturnKind.MAP_VALUE and map_type in _ELEMENTS:
        kind = _ELEMENTS[map_type]
        returns = replace(returns, kind=kind, acquires=kind is ReturnKind.SOCKET)
    value = None
    if map_type in (MapType.SOCKMAP, MapType.SOCKHASH):
        value = ArgKind.BTF_ID_SOCK_COMMON  # the socket to put into the map
    elif map_type is MapType.BLOOM_FILTER and name == "map_peek_elem":
        value = ArgKind.MAP_VALUE  # what to look for: read, where others are written
    if value is not None:
        values = (ArgKind.MAP_VALUE, ArgKind.UNINIT_MAP_VALUE)
        args = tuple(replace(arg, kind=value) if arg.kind in values else arg for arg in args)
    return replace(prototype, args=args, returns=returns)


_NOTATION = re.compile(r"(?P<kind>[A-Z_]+?(?:_COMMON)?)(?P<marks>[?!+r]*)(?::(?P<detail>\w+))?")
_WIDTHS = {"long": (64, True), "int": (32, True), "s64": (64, True), "u32": (32, False)}


def _argument(notation: str, declaration: str) -> HelperArg:
    """An argument from the table's notation and its C declaration."""
    match = _NOTATION.fullmatch(notation)
    name = re.search(r"\w+$", declaration)
    assert match is not None and name is not None, (notation, declaration)
    detail = match["detail"] or ""
    return HelperArg(
        name=name[0],
        c_type=declaration[: name.start()].strip(),
        kind=ArgKind[match["kind"]],
        nullable="?" in match["marks"],
        releases="!" in match["marks"],
        size=int(detail) if detail.isdigit() else None,
        btf_type="" if detail.isdigit() else detail,
    )


def _returned(notation: str, c_type: str) -> Return:
    """A result from the table's notation and its C type."""
    match = _NOTATION.fullmatch(notation)
    assert match is not None, notation
    bits, signed = _WIDTHS.get(c_type, (64, False))
    marks = match["marks"]
    # The kernel's prototype of set_hash_invalid has a result where C, and so every user, sees none.
    kind = ReturnKind.VOID if c_type == "void" else ReturnKind[match["kind"]]
    return Return(kind, c_type, bits, signed, "?" in marks, "+" in marks, "r" in marks, match["detail"] or "")


def _conditions(text: str, program_types: frozenset[ProgType]) -> tuple[Condition, ...]:
    """Conditions from ``KIND:value`` words; attach types are joined by commas."""
    found = []
    for word in text.split():
        name, _, value = word.partition(":")
        kind = ConditionKind[name]
        if kind is ConditionKind.ATTACH_TYPE:
            attach_types = frozenset(AttachType[a] for a in value.split(","))
            found.append(Condition(kind, program_types, attach_types=attach_types))
        else:
            found.append(Condition(kind, program_types, value))
    return tuple(found)


@cache
def _paragraphs() -> dict[str, str]:
    """The table's paragraphs by helper name."""
    return {paragraph.partition(" ")[0]: paragraph for paragraph in TABLE.split("\n\n")}


def _release(text: str) -> Release:
    """``6.1`` as (6, 1)."""
    major, _, minor = text.partition(".")
    return int(major), int(minor)


@cache
def helper_by_name(name: str) -> Helper | None:
    """The helper ``bpf_<name>``; None if there is none."""
    paragraph = _paragraphs().get(name)
    if paragraph is None:
        return None
    head, signature, *rest = paragraph.strip().split("\n")
    _, number, first, effect, maps = head.split(" ")
    since = _release(first)
    c_returns, c_args = (piece.strip() for piece in signature.split("|"))
    declarations = c_args.split(", ")
    prototypes: list[Prototype] = []
    groups: list[Availability] = []
    for line in rest:
        fields = [piece.strip() for piece in line[1:].split("|")]
        if line.startswith("P"):
            arguments, result, marks = fields
            args = tuple(_argument(n, d) for n, d in zip(arguments.split(), declarations, strict=False))
            prototypes.append(
                Prototype(args, _returned(result, c_returns), "gpl" in marks, "packet" in marks)
            )
        else:
            variant, later, conditions, mask = fields
            kinds = frozenset(kind for kind in ProgType if int(mask, 16) >> kind & 1)
            release = _release(later) if later else since
            groups.append(
                Availability(kinds, prototypes[int(variant)], release, _conditions(conditions, kinds))
            )
    return Helper(
        id=int(number),
        name=name,
        since=since,
        c_returns=c_returns,
        c_args=c_args,
        packet_effect=PacketEffect[effect],
        map_types=frozenset(kind for kind in MapType if int(maps, 16) >> kind & 1),
        prototypes=tuple(prototypes),
        availability=tuple(groups),
    )


@cache
def _names_by_id() -> dict[int, str]:
    """Helper names by number."""
    return {int(paragraph.split(" ", 2)[1]): name for name, paragraph in _paragraphs().items()}


def helper_by_id(number: int) -> Helper | None:
    """The helper with that number (``BPF_FUNC_*``), as calls carry it; None if there is none."""
    name = _names_by_id().get(number)
    return None if name is None else helper_by_name(name)


def helper_names() -> tuple[str, ...]:
    """The names of all helpers, without ``bpf_``, by number."""
    return tuple(_paragraphs())
