"""perf_event_open(2), for events that programs run at and for those that carry what programs send to user space.

Source: perf_event_open(2), include/uapi/linux/perf_event.h.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Callable

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.attrs_tracing import PerfEventAttr
from pyebpf.runtime.errors import BpfError, PermissionDenied, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.libc_syscall import Call, libc_syscall
from pyebpf.runtime.privilege import Need, explain_denial, lacking
from pyebpf.runtime.syscall import error

if TYPE_CHECKING:
    from typing import Final


ANY_PROCESS: Final = -1
ANY_CPU: Final = -1

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
def _libc(phase: Phase) -> Callable[..., int]:
    number = ctypes.c_int
    return libc_syscall(Call.PERF_EVENT_OPEN, phase, ctypes.c_void_p, number, number, number, ctypes.c_ulong)


def perf_event_open(
    attr: PerfEventAttr, *, pid: int, cpu: int, subject: str, phase: Phase = Phase.ATTACH
) -> Fd:
    """Open an event. ``pid`` and ``cpu``: -1 for any, but not both. ``phase``: what it is for. Raises ``BpfError``.

    What ``attr`` has addresses of must stay referenced until this returns.
    """
    attr.size = ctypes.sizeof(attr)
    result = _libc(phase)(ctypes.addressof(attr), pid, cpu, -1, _CLOEXEC)
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
