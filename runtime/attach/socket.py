"""Socket filters: ``SO_ATTACH_BPF``."""

from __future__ import annotations

import errno
import os
import socket
import struct

from pyebpf.hints import TYPE_CHECKING, Protocol
from pyebpf.runtime.attach.link import Link, OtherLink
from pyebpf.runtime.errors import Phase
from pyebpf.runtime.privilege import Need
from pyebpf.runtime.program import LoadedProgram
from pyebpf.runtime.syscall import error

if TYPE_CHECKING:
    from typing import Final


_SO_DETACH_FILTER: Final = 27
_SO_ATTACH_BPF: Final = 50
_SO_COOKIE: Final = 57


class HasSocket(Protocol):
    """A socket, or anything with the descriptor of one."""

    def fileno(self) -> int: ...


def _same_socket(number: int) -> socket.socket:
    """Another object for the socket behind a descriptor. Raises ``OSError`` if there is none."""
    duplicate = os.dup(number)
    try:
        return socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        raise


def _cookie(sock: socket.socket) -> bytes:
    """What identifies a socket for as long as the machine runs."""
    return sock.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8)


def attach_socket(program: LoadedProgram, sock: HasSocket) -> Link:
    """Let ``program`` decide about what ``sock`` receives: its verdict is how many bytes are kept, 0 drops.

    The link holds the socket's number, not the socket: closing the socket ends the attachment too. Raises
    ``BpfError``.
    """
    number = sock.fileno()
    subject = f"to socket {number}"
    try:
        with _same_socket(number) as same:
            same.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, struct.pack("=i", program.fd))
            cookie = _cookie(same)
    except OSError as found:
        code = found.errno or errno.EINVAL
        raise error(code, Phase.ATTACH, f"{program.name!r} {subject}", need=Need.NOTHING) from None

    def undo() -> None:
        # By now the number may belong to another socket, or to nothing.
        try:
            with _same_socket(number) as same:
                if _cookie(same) == cookie:
                    same.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, struct.pack("=i", 0))
        except OSError as found:
            if found.errno not in (errno.EBADF, errno.ENOTSOCK, errno.ENOENT):
                raise error(found.errno or errno.EINVAL, Phase.DETACH, subject) from None

    return OtherLink(program, subject, undo)
