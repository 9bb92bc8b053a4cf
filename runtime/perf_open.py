"""perf_event_open(2) for the one kind of event that carries records of programs to user space.

Source: perf_event_open(2), include/uapi/linux/perf_event.h.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import struct
import sys
from collections.abc import Callable
from typing import Final

from pyebpf.runtime.errors import BpfError, NotSupported, PermissionDenied, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.privilege import Need, explain_denial

_NUMBERS: Final = {
    "x86_64": 298,
    "i386": 336,
    "i686": 336,
    "aarch64": 241,
    "armv7l": 364,
    "riscv64": 241,
    "loongarch64": 241,
    "s390x": 331,
    "ppc64": 319,
    "ppc64le": 319,
    "mips64": 5292,
}
"""System call numbers of 64-bit processes, where a machine has both, by machine."""

_TYPE_SOFTWARE: Final = 1
_SW_BPF_OUTPUT: Final = 10
_SAMPLE_RAW: Final = 1 << 10
_ATTR: Final = struct.Struct("=IIQQQQQIIQ")
"""The first version of struct perf_event_attr: type, size, config, sample_period, sample_type, read_format, flags,
wakeup_events, bp_type, config1."""
_FD_CLOEXEC: Final = 1 << 3
_IOC_ENABLE: Final = 0x2400


@functools.cache
def _syscall() -> Callable[..., int]:
    number = _NUMBERS.get(os.uname().machine)
    if number is None or sys.maxsize < 2**32 < number:
        detail = f"the number of perf_event_open(2) on {os.uname().machine!r} is not known"
        raise NotSupported(errno.ENOSYS, Phase.PERF_BUFFER, detail=detail)
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.argtypes = (
        ctypes.c_long,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_ulong,
    )
    function.restype = ctypes.c_long
    return functools.partial(function, number)


def open_output(cpu: int, wakeup: int, subject: str) -> Fd | None:
    """An enabled event for bpf_perf_event_output on ``cpu``; ``None`` where that CPU does not run.

    ``wakeup``: after how many records it becomes readable. Raises ``BpfError``; EPERM names the capability.
    """
    attr = _ATTR.pack(_TYPE_SOFTWARE, _ATTR.size, _SW_BPF_OUTPUT, 1, _SAMPLE_RAW, 0, 0, wakeup, 0, 0)
    number = _syscall()(attr, -1, cpu, -1, _FD_CLOEXEC)
    if number < 0:
        code = ctypes.get_errno()
        if code == errno.ENODEV:
            return None
        if code in (errno.EPERM, errno.EACCES):
            detail = explain_denial(Need.PERFMON)
            raise PermissionDenied(code, Phase.PERF_BUFFER, subject, detail=detail)
        raise BpfError(code, Phase.PERF_BUFFER, subject, detail=f"the event of CPU {cpu}")
    found = Fd(number)
    fcntl.ioctl(found.fileno(), _IOC_ENABLE, 0)
    return found
