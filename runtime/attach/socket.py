"""Socket filters: ``SO_ATTACH_BPF``."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Final, Protocol

from pyebpf.runtime.attach.link import Link, OtherLink
from pyebpf.runtime.errors import Phase
from pyebpf.runtime.privilege import Need
from pyebpf.runtime.program import LoadedProgram
from pyebpf.runtime.syscall import error

_SO_DETACH_FILTER: Final = 27
_SO_ATTACH_BPF: Final = 50
_SO_COOKIE: Final = 57


class HasSocket(Protocol):
    """A socket, or anything with the descriptor of one."""

    def fileno(self) -> int: ...


def _cookie(number: int) -> bytes | None:
    """What identifies the socket behind a descriptor for as long as the machine runs; ``None`` if it is no
    socket."""
    with socket.socket(fileno=os.dup(number)) as other:
        try:
            return other.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8)
        except OSError:
            return None


def attach_socket(program: LoadedProgram, sock: HasSocket) -> Link:
    """Let ``program`` decide about what ``sock`` receives: its verdict is how many bytes are kept, 0 drops.

    The link holds the socket's number, not the socket: closing the socket ends the attachment too. Raises
    ``BpfError``.
    """
    number = sock.fileno()
    subject = f"to socket {number}"
    with socket.socket(fileno=os.dup(number)) as other:
        try:
            other.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, struct.pack("=i", program.fd))
        except OSError as found:
            raise error(
                found.errno or errno.EINVAL, Phase.ATTACH, f"{program.name!r} {subject}", need=Need.NOTHING
            ) from None
    cookie = _cookie(number)

    def undo() -> None:
        # By now the number may belong to another socket, or to nothing.
        try:
            if _cookie(number) != cookie:
                return
            with socket.socket(fileno=os.dup(number)) as other:
                other.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, struct.pack("=i", 0))
        except OSError as found:
            if found.errno not in (errno.EBADF, errno.ENOTSOCK, errno.ENOENT):
                raise error(found.errno or errno.EINVAL, Phase.DETACH, subject) from None

    return OtherLink(program, subject, undo)
