"""perf_event_open(2), for events that programs run at and for those that carry what programs send to user space.

Source: perf_event_open(2), include/uapi/linux/perf_event.h.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import Final

from pyebpf.runtime.attrs_tracing import PerfEventAttr
from pyebpf.runtime.errors import BpfError, NotSupported, PermissionDenied, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.privilege import Need, explain_denial, lacking
from pyebpf.runtime.syscall import error

ANY_PROCESS: Final = -1
ANY_CPU: Final = -1

_NUMBERS: Final[dict[tuple[str, bool], int]] = {
    ("x86_64", True): 298,
    ("x86_64", False): 336,
    ("i386", False): 336,
    ("i686", False): 336,
    ("aarch64", True): 241,
    ("aarch64", False): 364,
    ("armv7l", False): 364,
    ("armv6l", False): 364,
    ("riscv64", True): 241,
    ("loongarch64", True): 241,
    ("s390x", True): 331,
    ("ppc64", True): 319,
    ("ppc64le", True): 319,
    ("mips64", True): 5292,
}
"""System call numbers by machine and whether the process is a 64-bit one."""

_CLOEXEC: Final = 8
_PARANOID: Final = "/proc/sys/kernel/perf_event_paranoid"

IOC_ENABLE: Final = 0x2400
IOC_SET_BPF: Final = 0x4004_2408
_OTHER_DIRECTIONS: Final = {IOC_ENABLE: 0x2000_2400, IOC_SET_BPF: 0x8004_2408}
"""The numbers of these requests on PowerPC and MIPS, which write directions otherwise."""

_TYPE_SOFTWARE: Final = 1
_SW_BPF_OUTPUT: Final = 10
_SAMPLE_RAW: Final = 1 << 10


@functools.cache
def _libc_syscall(phase: Phase) -> tuple[int, Callable[..., int]]:
    machine = os.uname().machine
    number = _NUMBERS.get((machine, sys.maxsize > 2**32))
    if number is None:
        detail = f"the number of perf_event_open(2) on {machine!r} is not known"
        raise NotSupported(errno.ENOSYS, phase, detail=detail)
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.argtypes = (
        ctypes.c_long,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_ulong,
    )
    function.restype = ctypes.c_long
    return number, function


def perf_event_open(
    attr: PerfEventAttr, *, pid: int, cpu: int, subject: str, phase: Phase = Phase.ATTACH
) -> Fd:
    """Open an event. ``pid`` and ``cpu``: -1 for any, but not both. ``phase``: what it is for. Raises ``BpfError``.

    What ``attr`` has addresses of must stay referenced until this returns.
    """
    number, function = _libc_syscall(phase)
    attr.size = ctypes.sizeof(attr)
    result = function(number, ctypes.addressof(attr), pid, cpu, -1, _CLOEXEC)
    if result >= 0:
        return Fd(result)
    code = ctypes.get_errno()
    if code in (errno.EPERM, errno.EACCES):
        # The kernel's rules tightened for some events: what CAP_PERFMON was enough for may need more.
        need = Need.PERFMON if lacking(Need.PERFMON) else Need.SYS_ADMIN
        raise PermissionDenied(code, phase, subject, detail=f"{explain_denial(need)}{_paranoia()}")
    found = error(code, phase, subject, need=Need.PERFMON)
    if code == errno.ESRCH:
        found.detail = f"there is no process {pid}"
    raise found


def _paranoia() -> str:
    try:
        with open(_PARANOID) as setting:
            return f" (sysctl kernel.perf_event_paranoid is {setting.read().strip()})"
    except OSError:
        return " (this kernel has no perf events: CONFIG_PERF_EVENTS)"


def ioctl_number(number: int) -> int:
    """The number of an ioctl of perf events on this machine."""
    other = os.uname().machine.startswith(("ppc", "mips"))
    return _OTHER_DIRECTIONS[number] if other else number


def open_output(cpu: int, wakeup: int, subject: str) -> Fd | None:
    """An enabled event for bpf_perf_event_output on ``cpu``; ``None`` where that CPU does not run.

    ``wakeup``: after how many records it becomes readable. Raises ``BpfError``; EPERM names the capability.
    """
    attr = PerfEventAttr(
        type=_TYPE_SOFTWARE,
        config=_SW_BPF_OUTPUT,
        sample_period=1,
        sample_type=_SAMPLE_RAW,
        wakeup_events=wakeup,
    )
    try:
        return perf_event_open(attr, pid=ANY_PROCESS, cpu=cpu, subject=subject, phase=Phase.PERF_BUFFER)
    except BpfError as refused:
        if refused.errno == errno.ENODEV:
            return None
        refused.detail = refused.detail or f"the event of CPU {cpu}"
        raise
