"""Programs, maps and links in the kernel, whoever loaded them, and how often and how long programs ran.

Listing needs CAP_SYS_ADMIN. What goes away meanwhile is left out; of types that this version does not know the number
is given.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator

from pyebpf.hints import TYPE_CHECKING, TypeVar
from pyebpf.records import dataclass
from pyebpf.runtime.attrs import GetId, InfoByFd, MapInfo, ProgInfo
from pyebpf.runtime.attrs_tracing import IterLinkInfo, PerfInfo, RawTracepointInfo, TracingInfo
from pyebpf.runtime.errors import BpfError, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.info import ask, btf_bytes, known, open_by_id, statistics
from pyebpf.runtime.privilege import Need
from pyebpf.runtime.program import LoadedProgram
from pyebpf.runtime.syscall import bpf, call, error
from pyebpf.uapi.constants import BpfCmd, LinkType, MapType, ProgType

if TYPE_CHECKING:
    from typing import Final


__all__ = [
    "LinkEntry",
    "MapEntry",
    "ProgramEntry",
    "RunStatistics",
    "loaded_links",
    "loaded_maps",
    "loaded_programs",
    "run_statistics",
    "statistics",
]

_NAME_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class RunStatistics:
    """How often a program ran (while statistics were on: ``with statistics():``) and for how long in all;
    ``recursion_misses``: how often it was left out since it was running already on that CPU; ``verified_insns``: what the
    verifier walked through to accept it (0 before Linux 5.16)."""

    run_cnt: int
    run_time_ns: int
    recursion_misses: int
    verified_insns: int

    @property
    def mean_ns(self) -> float:
        """Nanoseconds of one run, 0 if there was none."""
        return self.run_time_ns / self.run_cnt if self.run_cnt else 0.0


@dataclass(frozen=True, slots=True)
class ProgramEntry:
    """A program. ``name`` is what the kernel keeps of it, 15 bytes; ``loaded_at``: nanoseconds since the machine
    started; sizes in bytes."""

    id: int
    type: ProgType | int
    name: str
    tag: str
    uid: int
    loaded_at: int
    xlated_size: int
    jited_size: int
    gpl_compatible: bool
    btf_id: int
    map_ids: tuple[int, ...]
    statistics: RunStatistics


@dataclass(frozen=True, slots=True)
class MapEntry:
    """A map. Sizes in bytes."""

    id: int
    type: MapType | int
    name: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    btf_id: int


@dataclass(frozen=True, slots=True)
class LinkEntry:
    """A link. ``target`` says in a few words where it is attached, as far as the kernel tells."""

    id: int
    type: LinkType | int
    program_id: int
    target: str


def loaded_programs() -> list[ProgramEntry]:
    """All programs in the kernel, by id. Raises ``PermissionDenied``."""
    return [_program(fd) for fd in _each(BpfCmd.PROG_GET_NEXT_ID, BpfCmd.PROG_GET_FD_BY_ID, "programs")]


def loaded_maps() -> list[MapEntry]:
    """All maps in the kernel, by id. Raises ``PermissionDenied``."""
    return [_map(fd) for fd in _each(BpfCmd.MAP_GET_NEXT_ID, BpfCmd.MAP_GET_FD_BY_ID, "maps")]


def loaded_links() -> list[LinkEntry]:
    """All links in the kernel, by id. Raises ``PermissionDenied``."""
    return [_link(fd) for fd in _each(BpfCmd.LINK_GET_NEXT_ID, BpfCmd.LINK_GET_FD_BY_ID, "links")]


def run_statistics(program: LoadedProgram) -> RunStatistics:
    """What the kernel counted of ``program``. Counting costs some nanoseconds a run and is off unless switched on:
    ``with statistics(): …``."""
    return _statistics(ask(program.handle, ProgInfo()))


def _each(following: BpfCmd, opening: BpfCmd, subject: str) -> Iterator[Fd]:
    """A descriptor of each object of a kind, closed when the next is asked for."""
    number = 0
    while True:
        attr = GetId(number)
        result = call(following, attr)
        if result == -errno.ENOENT:
            return
        if result < 0:
            raise error(-result, Phase.OBJECT_INFO, f"about all {subject}", need=Need.SYS_ADMIN)
        number = attr.next_id
        try:
            fd = open_by_id(opening, number, f"about all {subject}")
        except BpfError as refused:
            if refused.errno == errno.ENOENT:
                continue
            raise
        with fd:
            yield fd


def _statistics(info: ProgInfo) -> RunStatistics:
    return RunStatistics(info.run_cnt, info.run_time_ns, info.recursion_misses, info.verified_insns)


def _program(fd: Fd) -> ProgramEntry:
    info = ask(fd, ProgInfo())
    ids = (ctypes.c_uint32 * info.nr_map_ids)()
    if info.nr_map_ids:
        ask(fd, ProgInfo(nr_map_ids=info.nr_map_ids, map_ids=ctypes.addressof(ids)))
    return ProgramEntry(
        id=info.id,
        type=known(info.type, ProgType),
        name=info.name.decode(errors="replace"),
        tag=bytes(info.tag).hex(),
        uid=info.created_by_uid,
        loaded_at=info.load_time,
        xlated_size=info.xlated_prog_len,
        jited_size=info.jited_prog_len,
        gpl_compatible=bool(info.gpl_compatible),
        btf_id=info.btf_id,
        map_ids=tuple(ids),
        statistics=_statistics(info),
    )


def _map(fd: Fd) -> MapEntry:
    info = ask(fd, MapInfo())
    return MapEntry(
        id=info.id,
        type=known(info.type, MapType),
        name=info.name.decode(errors="replace"),
        key_size=info.key_size,
        value_size=info.value_size,
        max_entries=info.max_entries,
        flags=info.map_flags,
        btf_id=info.btf_id,
    )


# ---------------------------------------------------------------- where links are attached

_LinkInfo = TypeVar("_LinkInfo", RawTracepointInfo, TracingInfo, IterLinkInfo, PerfInfo)
_PERF_TYPES: Final = {1: "uprobe", 2: "uretprobe", 3: "kprobe", 4: "kretprobe", 5: "tracepoint"}
_PERF_EVENT: Final = 6


def _link_info(fd: Fd, info: _LinkInfo) -> _LinkInfo:
    attr = InfoByFd(fd.fileno(), ctypes.sizeof(info), ctypes.addressof(info))
    bpf(BpfCmd.OBJ_GET_INFO_BY_FD, attr, Phase.OBJECT_INFO, "about a link")
    return info


def _link(fd: Fd) -> LinkEntry:
    info = _link_info(fd, TracingInfo())
    kind = known(info.type, LinkType)
    return LinkEntry(info.id, kind, info.prog_id, _target(fd, kind, info))


def _target(fd: Fd, kind: LinkType | int, info: TracingInfo) -> str:
    # Several kinds have their target, a number, where tracing links have the attach type.
    number = info.attach_type
    name = ctypes.create_string_buffer(_NAME_BYTES)
    place, size = ctypes.addressof(name), _NAME_BYTES
    match kind:
        case LinkType.RAW_TRACEPOINT:
            _link_info(fd, RawTracepointInfo(tp_name=place, tp_name_len=size))
            return name.value.decode(errors="replace")
        case LinkType.ITER:
            _link_info(fd, IterLinkInfo(target_name=place, target_name_len=size))
            return name.value.decode(errors="replace")
        case LinkType.PERF_EVENT:
            return _perf_target(fd, name)
        case LinkType.TRACING:
            return _traced(info)
        case LinkType.XDP | LinkType.TCX | LinkType.NETKIT:
            return f"interface {number}"
        case LinkType.SOCKMAP:
            return f"map {number}"
        case _:
            return ""


def _perf_target(fd: Fd, name: ctypes.Array[ctypes.c_char]) -> str:
    kind = _link_info(fd, PerfInfo()).perf_type
    if kind == _PERF_EVENT:
        info = _link_info(fd, PerfInfo())
        return f"event {info.name_len}:{info.name:#x}"
    if kind not in _PERF_TYPES:
        return ""
    info = _link_info(fd, PerfInfo(name=ctypes.addressof(name), name_len=_NAME_BYTES))
    offset = f"+{info.offset:#x}" if info.offset else ""
    return f"{_PERF_TYPES[kind]} {name.value.decode(errors='replace')}{offset}"


def _traced(info: TracingInfo) -> str:
    """The function that a tracing program is at: of the kernel, ``module:name``, or of another program. Empty where the
    kernel has no type information, or what it would tell of is gone."""
    from pyebpf.diagnostics import PyebpfError
    from pyebpf.runtime.kernel_modules import type_name

    try:
        with open_by_id(BpfCmd.PROG_GET_FD_BY_ID, info.prog_id, "about a link") as fd:
            own = ask(fd, ProgInfo())
        # The link has a number of other programs where it has one of type information for the kernel and its modules.
        if own.type == ProgType.EXT or (own.attach_btf_id and not own.attach_btf_obj_id):
            return _function_of_program(info.target_obj_id, info.target_btf_id)
        return type_name(info.target_obj_id, info.target_btf_id)
    except PyebpfError:
        return ""


def _function_of_program(program_id: int, number: int) -> str:
    from pyebpf.btf import Spec, name_of

    with open_by_id(BpfCmd.PROG_GET_FD_BY_ID, program_id, "about a link") as fd:
        types = Spec(btf_bytes(ask(fd, ProgInfo()).btf_id))
    return f"program {program_id} {name_of(types.type(number))}"
