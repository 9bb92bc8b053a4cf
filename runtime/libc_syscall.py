"""syscall(2) through the C library, for the calls that it has no functions for.

Source: arch/*/entry/syscalls/*.tbl and include/uapi/asm-generic/unistd.h of Linux.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import sys
from collections.abc import Callable

from pyebpf import enums
from pyebpf.hints import TYPE_CHECKING, Any
from pyebpf.runtime.errors import BpfError, NotSupported, Phase

if TYPE_CHECKING:
    from typing import Final


class Call(enums.Enum):
    """A system call, by the column of its numbers below."""

    BPF = 0
    PERF_EVENT_OPEN = 1


_NUMBERS: Final[dict[tuple[str, bool], tuple[int, int]]] = {
    ("x86_64", True): (321, 298),
    ("x86_64", False): (357, 336),
    ("i386", False): (357, 336),
    ("i686", False): (357, 336),
    ("aarch64", True): (280, 241),
    ("aarch64", False): (386, 364),
    ("armv7l", False): (386, 364),
    ("armv6l", False): (386, 364),
    ("riscv64", True): (280, 241),
    ("loongarch64", True): (280, 241),
    ("s390x", True): (351, 331),
    ("ppc64", True): (361, 319),
    ("ppc64le", True): (361, 319),
    ("mips64", True): (5315, 5292),
}
"""Numbers by machine and whether the process is a 64-bit one."""


def libc_syscall(call: Call, phase: Phase, *types: Any) -> Callable[..., int]:
    """A function that does ``call`` with arguments of these types of ctypes: its result, or -1 with ``ctypes.get_errno``.

    Raises ``BpfError`` where this is not Linux, ``NotSupported`` where the number is not known.
    """
    name = call.name.lower()
    if sys.platform != "linux":
        detail = f"{name}(2) exists on Linux only, this is {sys.platform}"
        raise BpfError(errno.ENOSYS, phase, detail=detail)
    machine = os.uname().machine
    numbers = _NUMBERS.get((machine, sys.maxsize > 2**32))
    if numbers is None:
        detail = f"the number of {name}(2) on {machine!r} is not known"
        raise NotSupported(errno.ENOSYS, phase, detail=detail)
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.argtypes = (ctypes.c_long, *types)
    function.restype = ctypes.c_long
    return functools.partial(function, numbers[call.value])
