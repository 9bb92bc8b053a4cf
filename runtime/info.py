"""What the kernel tells about its objects: ``BPF_OBJ_GET_INFO_BY_FD``, fdinfo, ids and run-time
statistics."""

from __future__ import annotations

import ctypes
import errno
import os

from pyebpf.enums import IntEnum
from pyebpf.hints import TYPE_CHECKING, TypeVar
from pyebpf.records import dataclass
from pyebpf.runtime.attrs import BtfInfo, EnableStats, GetId, InfoByFd, LinkInfo, MapInfo, ProgInfo
from pyebpf.runtime.backing import MapFacts
from pyebpf.runtime.errors import NotSupported, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.privilege import Need
from pyebpf.runtime.syscall import bpf, bpf_fd
from pyebpf.uapi.constants import BpfCmd, LinkType, MapType, ProgType

if TYPE_CHECKING:
    from typing import Final


_NAME_BYTES: Final = 64  # MODULE_NAME_LEN, or more
_Enum = TypeVar("_Enum", bound=IntEnum)
_Info = TypeVar("_Info", ProgInfo, MapInfo, BtfInfo, LinkInfo)


@dataclass(frozen=True, slots=True)
class ProgramFacts:
    """A loaded program. Sizes in bytes; ``verified_insns``: instructions that the verifier walked (0 before
    5.16).

    ``run_cnt`` and ``run_time_ns`` stay 0 unless statistics are on (``statistics``).
    """

    id: int
    type: ProgType
    name: str
    tag: str
    jited_size: int
    xlated_size: int
    verified_insns: int
    run_cnt: int
    run_time_ns: int
    recursion_misses: int
    gpl_compatible: bool
    btf_id: int
    map_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """A link. ``type`` is a number where this version does not know it. ``target``: the interface's index (XDP, tcx) or the
    map's id (sockmap), else 0."""

    id: int
    type: LinkType | int
    program_id: int
    target: int


def known(number: int, kind: type[_Enum]) -> _Enum | int:
    """The member of ``kind``, or the number itself if that is of a newer kernel."""
    try:
        return kind(number)
    except ValueError:
        return number


def _expected(number: int, kind: type[_Enum]) -> _Enum:
    """The member of ``kind``. Raises ``NotSupported`` for what only a newer kernel has."""
    found = known(number, kind)
    if isinstance(found, kind):
        return found
    detail = f"pyebpf knows no {kind.__name__} {number}, which is of a later kernel"
    raise NotSupported(errno.EOPNOTSUPP, Phase.OBJECT_INFO, detail=detail)


def ask(fd: Fd, info: _Info) -> _Info:
    """Let the kernel fill ``info`` in; what is set in it says where lists and names go. Raises ``BpfError``."""
    attr = InfoByFd(fd.fileno(), ctypes.sizeof(info), ctypes.addressof(info))
    bpf(BpfCmd.OBJ_GET_INFO_BY_FD, attr, Phase.OBJECT_INFO)
    return info


def program_facts(fd: Fd) -> ProgramFacts:
    """Ask about a program."""
    info = ask(fd, ProgInfo())
    ids = (ctypes.c_uint32 * info.nr_map_ids)()
    if info.nr_map_ids:
        ask(fd, ProgInfo(nr_map_ids=info.nr_map_ids, map_ids=ctypes.addressof(ids)))
    return ProgramFacts(
        id=info.id,
        type=_expected(info.type, ProgType),
        name=info.name.decode(),
        tag=bytes(info.tag).hex(),
        jited_size=info.jited_prog_len,
        xlated_size=info.xlated_prog_len,
        verified_insns=info.verified_insns,
        run_cnt=info.run_cnt,
        run_time_ns=info.run_time_ns,
        recursion_misses=info.recursion_misses,
        gpl_compatible=bool(info.gpl_compatible),
        btf_id=info.btf_id,
        map_ids=tuple(ids),
    )


def xlated_code(fd: Fd) -> bytes:
    """The instructions of a program as the verifier left them."""
    size = ask(fd, ProgInfo()).xlated_prog_len
    code = ctypes.create_string_buffer(max(size, 1))
    ask(fd, ProgInfo(xlated_prog_len=size, xlated_prog_insns=ctypes.addressof(code)))
    return code.raw[:size]


def map_facts(fd: Fd) -> MapFacts:
    """Ask about a map."""
    info = ask(fd, MapInfo())
    return MapFacts(
        id=info.id,
        type=_expected(info.type, MapType),
        name=info.name.decode(),
        key_size=info.key_size,
        value_size=info.value_size,
        max_entries=info.max_entries,
        flags=info.map_flags,
        map_extra=info.map_extra,
        btf_id=info.btf_id,
        key_type_id=info.btf_key_type_id,
        value_type_id=info.btf_value_type_id,
    )


def open_by_id(opening: BpfCmd, number: int, subject: str = "") -> Fd:
    """What the kernel calls ``number``; ``opening``: ``PROG_GET_FD_BY_ID``, …. Needs CAP_SYS_ADMIN. Raises ``BpfError``."""
    return bpf_fd(opening, GetId(number), Phase.OBJECT_INFO, subject, need=Need.SYS_ADMIN)


def link_facts(fd: Fd) -> LinkFacts:
    """Ask about a link."""
    info = ask(fd, LinkInfo())
    kind = known(info.type, LinkType)
    placed = kind in (LinkType.XDP, LinkType.TCX, LinkType.NETKIT, LinkType.SOCKMAP)
    return LinkFacts(info.id, kind, info.prog_id, info.target if placed else 0)


def btf_bytes(btf_id: int) -> bytes:
    """The BTF with id ``btf_id`` as the kernel holds it. Needs CAP_SYS_ADMIN."""
    with open_by_id(BpfCmd.BTF_GET_FD_BY_ID, btf_id, f"BTF {btf_id}") as fd:
        size = ask(fd, BtfInfo()).btf_size
        data = ctypes.create_string_buffer(max(size, 1))
        ask(fd, BtfInfo(btf=ctypes.addressof(data), btf_size=size))
    return data.raw[:size]


def btf_name(fd: Fd) -> str:
    """The name of the module that a descriptor of BTF belongs to: ``vmlinux`` for the kernel's own, empty for what
    programs brought."""
    name = ctypes.create_string_buffer(_NAME_BYTES)
    info = ask(fd, BtfInfo(name=ctypes.addressof(name), name_len=_NAME_BYTES))
    return name.value.decode() if info.kernel_btf else ""


def fdinfo(fd: Fd) -> dict[str, str]:
    """``/proc/self/fdinfo`` of a descriptor: name → text."""
    with open(f"/proc/self/fdinfo/{fd.fileno()}") as opened:
        pairs = [line.partition(":") for line in opened.read().splitlines()]
    return {name: text.strip() for name, _, text in pairs}


def statistics() -> Fd:
    """Switch run counts and times of all programs on for as long as the result is open (``with
    statistics():``)."""
    return bpf_fd(BpfCmd.ENABLE_STATS, EnableStats(0), Phase.ENABLE_STATS, need=Need.SYS_ADMIN)


def kernel_release() -> tuple[int, int, int]:
    """The version of the running kernel as three numbers."""
    numbers = "".join(c if c.isdigit() else " " for c in os.uname().release).split()
    major, minor, patch = (*map(int, numbers[:3]), 0, 0, 0)[:3]
    return major, minor, patch
