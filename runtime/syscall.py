"""bpf(2) through ctypes: the number on each architecture, the size of the attribute, and errno as an
exception.

Three ways in, by what the caller does with a failure: ``call`` gives the negative errno back (for lookups,
where ENOENT is an answer), ``bpf`` raises, ``bpf_fd`` raises and owns the descriptor that it returns.
"""

from __future__ import annotations

import ctypes
import errno
import functools
from collections.abc import Callable

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.attrs import Attr
from pyebpf.runtime.errors import ENOTSUPP, BpfError, NotSupported, PermissionDenied, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.libc_syscall import Call, libc_syscall
from pyebpf.runtime.privilege import Need, explain_denial
from pyebpf.uapi.constants import BpfCmd

if TYPE_CHECKING:
    from typing import Final


LOAD_ATTEMPTS: Final = 5
"""How often a load is tried that a signal interrupts (EAGAIN); libbpf's number."""


@functools.cache
def _libc() -> Callable[..., int]:
    return libc_syscall(Call.BPF, Phase.OBJECT_INFO, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint)


def _size(attr: Attr) -> int:
    """The shortest prefix of ``attr`` with all that is set and all that the kernel writes, in bytes."""
    used = len(bytes(attr).rstrip(b"\0"))
    return min(ctypes.sizeof(attr), max((used + 7) & ~7, attr.KEEP))


def call(cmd: BpfCmd, attr: Attr, size: int | None = None) -> int:
    """Do ``cmd``; return its result, or the negative errno.

    ``size``: bytes of ``attr`` to pass, where the caller knows (saves looking for zeros). Every buffer that
    ``attr`` has an address of must stay referenced by the caller until this returns.
    """
    result = _libc()(cmd, ctypes.addressof(attr), _size(attr) if size is None else size)
    return result if result >= 0 else -ctypes.get_errno()


def call_retrying(cmd: BpfCmd, attr: Attr) -> int:
    """As ``call``, but again after EAGAIN: a signal arrived while the verifier worked. Python's signal
    handlers run between the attempts."""
    result = -errno.EAGAIN
    for _ in range(LOAD_ATTEMPTS):
        result = call(cmd, attr)
        if result != -errno.EAGAIN:
            break
    return result


def error(number: int, phase: Phase, subject: str = "", *, need: Need = Need.BPF, log: str = "") -> BpfError:
    """The typed exception for an errno. ``need``: the capabilities that the operation asks for."""
    if number == errno.EPERM:
        return PermissionDenied(number, phase, subject, detail=explain_denial(need), log=log)
    if number in (ENOTSUPP, errno.EOPNOTSUPP, errno.ENOSYS):
        return NotSupported(number, phase, subject, log=log)
    return BpfError(number, phase, subject, log=log)


def bpf(cmd: BpfCmd, attr: Attr, phase: Phase, subject: str = "", *, need: Need = Need.BPF) -> int:
    """Do ``cmd`` and return its result. Raises ``BpfError`` (see ``error``)."""
    result = call(cmd, attr)
    if result < 0:
        raise error(-result, phase, subject, need=need)
    return result


def bpf_fd(cmd: BpfCmd, attr: Attr, phase: Phase, subject: str = "", *, need: Need = Need.BPF) -> Fd:
    """As ``bpf``, for commands that return a descriptor."""
    return Fd(bpf(cmd, attr, phase, subject, need=need))
