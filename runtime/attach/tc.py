"""tc: programs at the ingress and egress of an interface, through tcx (6.6), or as filters of a clsact
qdisc."""

from __future__ import annotations

import errno
import socket
import struct

from pyebpf import enums
from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.attach.link import Link, OtherLink, create_link
from pyebpf.runtime.attach.netlink import (
    NLA_F_NESTED,
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_DELQDISC,
    RTM_DELTFILTER,
    RTM_GETTFILTER,
    RTM_NEWQDISC,
    RTM_NEWTFILTER,
    Netlink,
    attribute,
    attributes,
    interface_index,
)
from pyebpf.runtime.errors import BpfError
from pyebpf.runtime.program import LoadedProgram
from pyebpf.uapi.constants import AttachType

if TYPE_CHECKING:
    from typing import Final


class TcMethod(enums.Enum):
    """How the kernel is told."""

    TCX = "tcx"
    CLSACT = "clsact"


_BEFORE: Final = 8
_CLSACT_HANDLE: Final = 0xFFFF_0000
_CLSACT_PARENT: Final = 0xFFFF_FFF1
_INGRESS_PARENT: Final = 0xFFFF_FFF2
_EGRESS_PARENT: Final = 0xFFFF_FFF3
_TCA_KIND: Final = 1
_TCA_OPTIONS: Final = 2
_TCA_BPF_FD: Final = 6
_TCA_BPF_NAME: Final = 7
_TCA_BPF_FLAGS: Final = 8
_DIRECT_ACTION: Final = 1
_ALL_PROTOCOLS: Final = socket.htons(3)
_TCMSG: Final = struct.Struct("=BxxxiIII")
_FIRST_PRIORITY: Final = 1
_DEFAULT_PRIORITY: Final = 0xC000
_LAST_PRIORITY: Final = 0xFFFF


def attach_tc(
    program: LoadedProgram,
    interface: str | int,
    *,
    egress: bool = False,
    first: bool = False,
    method: TcMethod | None = None,
) -> Link:
    """Let ``program`` decide about packets that ``interface`` (name or index) receives, or with ``egress``
    sends.

    It runs behind the programs that are there already, or before them all with ``first``. ``method``: tcx
    where this kernel has it, unless chosen; the filter of the clsact method returns its verdict directly.
    Raises ``BpfError``.
    """
    index = interface_index(interface)
    subject = f"to tc {'egress' if egress else 'ingress'} of interface {interface!r}"
    if method is not TcMethod.CLSACT:
        hook = AttachType.TCX_EGRESS if egress else AttachType.TCX_INGRESS
        try:
            return create_link(program, hook, index, subject, flags=_BEFORE if first else 0)
        except BpfError as error:
            # Kernels before 6.6 do not know the attach type.
            if error.errno != errno.EINVAL or method is TcMethod.TCX:
                raise
    return _attach_clsact(program, index, _EGRESS_PARENT if egress else _INGRESS_PARENT, first, subject)


def _tcmsg(index: int, handle: int, parent: int, info: int) -> bytes:
    return _TCMSG.pack(0, index, handle, parent, info)


def _filters(netlink: Netlink, index: int, parent: int, subject: str) -> list[tuple[int, int]]:
    """Priority and handle of every filter at one side of a clsact."""
    found: list[tuple[int, int]] = []
    for body in netlink.dump(RTM_GETTFILTER, _tcmsg(index, 0, parent, 0), subject):
        _, where, handle, _, info = _TCMSG.unpack_from(body)
        if where == index and any(kind == _TCA_KIND for kind, _ in attributes(body[_TCMSG.size :])):
            found.append((info >> 16, handle))
    return found


def _add_clsact(netlink: Netlink, index: int, subject: str) -> bool:
    """Make sure that the interface has a clsact; whether it was made now."""
    body = _tcmsg(index, _CLSACT_HANDLE, _CLSACT_PARENT, 0) + attribute(_TCA_KIND, b"clsact\0")
    try:
        netlink.request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, body, subject)
    except BpfError as error:
        if error.errno == errno.EEXIST:
            return False
        raise
    return True


def _remove_clsact(netlink: Netlink, index: int, subject: str) -> None:
    """Remove a clsact in which nobody else has put a filter meanwhile."""
    if any(_filters(netlink, index, parent, subject) for parent in (_INGRESS_PARENT, _EGRESS_PARENT)):
        return
    netlink.request(RTM_DELQDISC, 0, _tcmsg(index, _CLSACT_HANDLE, _CLSACT_PARENT, 0), subject)


def _priority(taken: list[int], first: bool) -> int:
    """A free priority behind all others, or before them."""
    if not taken:
        return _DEFAULT_PRIORITY
    return max(min(taken) - 1, _FIRST_PRIORITY) if first else min(max(taken) + 1, _LAST_PRIORITY)


def _attach_clsact(program: LoadedProgram, index: int, parent: int, first: bool, subject: str) -> Link:
    netlink = Netlink()
    made = False
    try:
        made = _add_clsact(netlink, index, subject)
        priority = _priority([taken for taken, _ in _filters(netlink, index, parent, subject)], first)
        info = priority << 16 | _ALL_PROTOCOLS
        options = attribute(_TCA_BPF_FD, struct.pack("=I", program.fd))
        options += attribute(_TCA_BPF_NAME, program.name.encode() + b"\0")
        options += attribute(_TCA_BPF_FLAGS, struct.pack("=I", _DIRECT_ACTION))
        body = _tcmsg(index, 1, parent, info) + attribute(_TCA_KIND, b"bpf\0")
        body += attribute(_TCA_OPTIONS | NLA_F_NESTED, options)
        netlink.request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, body, subject)
    except BaseException:
        if made:
            _remove_clsact(netlink, index, subject)
        netlink.close()
        raise

    def undo() -> None:
        with netlink:
            try:
                netlink.request(
                    RTM_DELTFILTER,
                    0,
                    _tcmsg(index, 1, parent, info) + attribute(_TCA_KIND, b"bpf\0"),
                    subject,
                )
                if made:
                    _remove_clsact(netlink, index, subject)
            except BpfError as error:
                # The interface is gone, or somebody removed the filter or the whole clsact.
                if error.errno not in (errno.ENODEV, errno.ENOENT, errno.EINVAL):
                    raise

    return OtherLink(program, subject, undo)
