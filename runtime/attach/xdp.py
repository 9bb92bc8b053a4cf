"""XDP: programs at the driver of an interface, through a bpf_link, or through netlink on kernels before
5.9."""

from __future__ import annotations

import errno
import struct

from pyebpf import enums
from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.attach.link import Link, OtherLink, create_link
from pyebpf.runtime.attach.netlink import (
    NLA_F_NESTED,
    RTM_SETLINK,
    Netlink,
    attribute,
    interface_index,
)
from pyebpf.runtime.errors import BpfError
from pyebpf.runtime.program import LoadedProgram
from pyebpf.uapi.constants import AttachType

if TYPE_CHECKING:
    from typing import Final


class XdpMode(enums.Enum):
    """Where in the path of a frame the program runs."""

    AUTO = "auto"  # the driver's hook if it has one, else generic
    GENERIC = "generic"  # in the network stack: any interface, slower
    NATIVE = "native"  # in the driver
    OFFLOAD = "offload"  # on the network card


class XdpMethod(enums.Enum):
    """How the kernel is told."""

    LINK = "link"
    NETLINK = "netlink"


_FLAGS: Final = {XdpMode.AUTO: 0, XdpMode.GENERIC: 2, XdpMode.NATIVE: 4, XdpMode.OFFLOAD: 8}
_UPDATE_IF_NOEXIST: Final = 1
_REPLACE: Final = 16
_IFLA_XDP: Final = 43
_IFLA_XDP_FD: Final = 1
_IFLA_XDP_FLAGS: Final = 3
_IFLA_XDP_EXPECTED_FD: Final = 8
_DETACH: Final = -1


def attach_xdp(
    program: LoadedProgram,
    interface: str | int,
    *,
    mode: XdpMode = XdpMode.AUTO,
    method: XdpMethod | None = None,
) -> Link:
    """Let ``program`` see every frame that ``interface`` (name or index) receives.

    ``method``: a link, or netlink where the kernel does not know links for XDP, unless chosen. Raises
    ``BpfError``: EBUSY if a program is there already, ENODEV for no such interface, EOPNOTSUPP if the
    driver lacks the mode.
    """
    index = interface_index(interface)
    subject = f"to XDP of interface {interface!r} ({mode.value})"
    if method is not XdpMethod.NETLINK:
        try:
            return create_link(program, AttachType.XDP, index, subject, flags=_FLAGS[mode])
        except BpfError as error:
            # Kernels before 5.9 do not know the attach type; others say EINVAL for a wrong index, as
            # netlink will.
            if error.errno != errno.EINVAL or method is XdpMethod.LINK:
                raise
    return _attach_netlink(program, index, mode, subject)


def _set(netlink: Netlink, index: int, fd: int, flags: int, expected: int | None, subject: str) -> None:
    nested = attribute(_IFLA_XDP_FD, struct.pack("=i", fd))
    nested += attribute(_IFLA_XDP_FLAGS, struct.pack("=I", flags))
    if expected is not None:
        nested += attribute(_IFLA_XDP_EXPECTED_FD, struct.pack("=i", expected))
    body = struct.pack("=BxHiII", 0, 0, index, 0, 0) + attribute(_IFLA_XDP | NLA_F_NESTED, nested)
    netlink.request(RTM_SETLINK, 0, body, subject)


def _attach_netlink(program: LoadedProgram, index: int, mode: XdpMode, subject: str) -> Link:
    netlink = Netlink()
    flags = _FLAGS[mode]
    try:
        _set(netlink, index, program.fd, flags | _UPDATE_IF_NOEXIST, None, subject)
        ours = program.handle.duplicate()
    except BaseException:
        netlink.close()
        raise

    def undo() -> None:
        with netlink, ours:
            try:
                _set(netlink, index, _DETACH, flags | _REPLACE, ours.fileno(), subject)
            except BpfError as error:
                # The interface is gone, or somebody has put another program there.
                if error.errno not in (errno.ENODEV, errno.EEXIST):
                    raise

    return OtherLink(program, subject, undo)
