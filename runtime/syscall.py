"""bpf(2) through ctypes: the number on each architecture, the size of the attribute, and errno as an
exception.

Three ways in, by what the caller does with a failure: ``call`` gives the negative errno back (for lookups,
where ENOENT is an answer), ``bpf`` raises, ``bpf_fd`` raises and owns the descriptor that it returns.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import Final

from pyebpf.runtime.attrs import Attr
from pyebpf.runtime.errors import ENOTSUPP, BpfError, NotSupported, PermissionDenied, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.privilege import Need, explain_denial
from pyebpf.uapi.constants import BpfCmd

_NUMBERS: Final[dict[tuple[str, bool], int]] = {
    ("x86_64", True): 321,
    ("x86_64", False): 357,
    ("i386", False): 357,
    ("i686", False): 357,
    ("aarch64", True): 280,
    ("aarch64", False): 386,
    ("armv7l", False): 386,
    ("armv6l", False): 386,
    ("riscv64", True): 280,
    ("loongarch64", True): 280,
    ("s390x", True): 351,
    ("ppc64", True): 361,
    ("ppc64le", True): 361,
    ("mips64", True): 5315,
}
"""System call numbers by machine and whether the process is a 64-bit one."""

LOAD_ATTEMPTS: Final = 5
"""How often a load is tried that a signal interrupts (EAGAIN); libbpf's number."""


@functools.cache
def _libc_syscall() -> tuple[int, Callable[..., int]]:
    if sys.platform != "linux":
        raise BpfError(
            errno.ENOSYS, Phase.OBJECT_INFO, detail=f"bpf(2) exists on Linux only, this is {sys.platform}"
        )
    machine = os.uname().machine
    number = _NUMBERS.get((machine, sys.maxsize > 2**32))
    if number is None:
        raise BpfError(
            errno.ENOSYS, Phase.OBJECT_INFO, detail=f"the number of bpf(2) on {machine!r} is not known"
        )
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint)
    function.restype = ctypes.c_long
    return number, function


def _size(attr: Attr) -> int:
    """The shortest prefix of ``attr`` with all that is set and all that the kernel writes, in bytes."""
    used = len(bytes(attr).rstrip(b"\0"))
    return min(ctypes.sizeof(attr), max((used + 7) & ~7, attr.KEEP))


def call(cmd: BpfCmd, attr: Attr, size: int | None = None) -> int:
    """Do ``cmd``; return its result, or the negative errno.

    ``size``: bytes of ``attr`` to pass, where the caller knows (saves looking for zeros). Every buffer that
    ``attr`` has an address of must stay referenced by the caller until this returns.
    """
    number, function = _libc_syscall()
    result = function(number, cmd, ctypes.addressof(attr), _size(attr) if size is None else size)
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
