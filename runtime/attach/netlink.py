"""rtnetlink: requests to the kernel about interfaces, and its answers with their explanation.

Messages are a header, a fixed part and attributes, all in host byte order, attributes aligned to 4 bytes.
Sources: include/uapi/linux/{netlink,rtnetlink,if_link,pkt_sched}.h,
Documentation/userspace-api/netlink/intro.rst.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.errors import BpfError, Phase
from pyebpf.runtime.privilege import Need
from pyebpf.runtime.syscall import error

if TYPE_CHECKING:
    from typing import Final, Self


NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
NLM_F_REPLACE: Final = 0x100
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400
NLM_F_DUMP: Final = 0x300
NLM_F_CAPPED: Final = 0x100
NLM_F_ACK_TLVS: Final = 0x200

RTM_SETLINK: Final = 19
RTM_NEWQDISC: Final = 36
RTM_DELQDISC: Final = 37
RTM_NEWTFILTER: Final = 44
RTM_DELTFILTER: Final = 45
RTM_GETTFILTER: Final = 46

NLA_F_NESTED: Final = 0x8000

_SOL_NETLINK: Final = 270
_NETLINK_CAP_ACK: Final = 10
_NETLINK_EXT_ACK: Final = 11
_NLMSGERR_ATTR_MSG: Final = 1
_HEADER: Final = struct.Struct("=IHHII")
_RECEIVE: Final = 1 << 16


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute with its padding; a nested one has attributes as payload and ``NLA_F_NESTED`` in its
    kind."""
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + bytes(-length % 4)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in ``data``: kind without flags, payload."""
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += (length + 3) & ~3


def interface_index(interface: str | int) -> int:
    """The index of an interface that is given by name or by index. Raises ``BpfError`` ENODEV for an
    unknown name."""
    if isinstance(interface, int):
        return interface
    try:
        return socket.if_nametoindex(interface)
    except OSError as found:
        raise BpfError(found.errno or errno.ENODEV, Phase.ATTACH, f"to interface {interface!r}") from None


class Netlink:
    """A socket to rtnetlink. It speaks for the network namespace in which it was made, for as long as it is
    open."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._sequence = 0

    def close(self) -> None:
        """Close the socket; again is harmless."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def request(self, kind: int, flags: int, body: bytes, what: str) -> None:
        """Send a request and wait for its acknowledgement.

        ``what`` names the subject in errors. Raises ``BpfError`` with the kernel's own words.
        """
        for _ in self._exchange(kind, flags | NLM_F_ACK, body, what):
            pass

    def dump(self, kind: int, body: bytes, what: str) -> list[bytes]:
        """The bodies of all messages of a dump. Raises ``BpfError``."""
        return list(self._exchange(kind, NLM_F_DUMP, body, what))

    def _exchange(self, kind: int, flags: int, body: bytes, what: str) -> Iterator[bytes]:
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, flags | NLM_F_REQUEST, self._sequence, 0)
        self._socket.send(header + body)
        while True:
            data = self._socket.recv(_RECEIVE)
            at = 0
            while at + _HEADER.size <= len(data):
                length, answer, answer_flags, sequence, _ = _HEADER.unpack_from(data, at)
                payload = data[at + _HEADER.size : at + length]
                at += (length + 3) & ~3
                if sequence != self._sequence:
                    continue
                if answer == NLMSG_DONE:
                    return
                if answer != NLMSG_ERROR:
                    yield payload
                    continue
                (code,) = struct.unpack_from("=i", payload)
                if code == 0:
                    return
                raise _failure(-code, payload, answer_flags, what)


def _failure(code: int, payload: bytes, flags: int, what: str) -> BpfError:
    """The exception for an error message; with extended acknowledgements the kernel explains itself in
    one."""
    found = error(code, Phase.NETLINK, what, need=Need.NET_ADMIN)
    if flags & NLM_F_ACK_TLVS:
        # The request's header comes back first, and all of the request unless the answer is capped.
        (length,) = struct.unpack_from("=I", payload, 4)
        start = 4 + (_HEADER.size if flags & NLM_F_CAPPED else length)
        for kind, value in attributes(payload[start:]):
            if kind == _NLMSGERR_ATTR_MSG:
                text = value.rstrip(b"\0").decode("utf-8", "replace")
                found.detail = f"{text}; {found.detail}" if found.detail else text
    return found
