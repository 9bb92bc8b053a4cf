"""perf_event_open(2), and programs on its events: a bpf_link (5.15), or an ioctl before that."""

from __future__ import annotations

import ctypes
import enum
import errno
import fcntl
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pyebpf.runtime.attach.link import HeldLink, Link, OtherLink
from pyebpf.runtime.attrs_tracing import LinkCreatePerf, PerfEventAttr
from pyebpf.runtime.errors import BpfError, NotSupported, PermissionDenied, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.privilege import Need, explain_denial, lacking
from pyebpf.runtime.program import LoadedProgram
from pyebpf.runtime.syscall import bpf_fd, call, error
from pyebpf.uapi.constants import AttachType, BpfCmd, ProgType

TRACING_NEED: Final = Need.BPF | Need.PERFMON
ANY_PROCESS: Final = -1
ANY_CPU: Final = -1
_NO_FD: Final = 0xFFFF_FFFF

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
_IOC_ENABLE: Final = 0x2400
_IOC_SET_BPF: Final = 0x4004_2408
_OTHER_DIRECTIONS: Final = {_IOC_ENABLE: 0x2000_2400, _IOC_SET_BPF: 0x8004_2408}
"""The numbers of these requests on PowerPC and MIPS, which write directions otherwise."""

_PARANOID: Final = Path("/proc/sys/kernel/perf_event_paranoid")


class PerfMethod(enum.Enum):
    """How a program gets onto a perf event."""

    LINK = "link"  # a bpf_link, from Linux 5.15
    IOCTL = "ioctl"  # without cookie and pin
    TRACEFS = "tracefs"  # kprobes and uprobes: an event made in tracefs, for kernels before 4.17


@functools.cache
def _libc_syscall() -> tuple[int, Callable[..., int]]:
    machine = os.uname().machine
    number = _NUMBERS.get((machine, sys.maxsize > 2**32))
    if number is None:
        raise BpfError(
            errno.ENOSYS, Phase.ATTACH, detail=f"the number of perf_event_open(2) on {machine!r} is not known"
        )
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


def perf_event_open(attr: PerfEventAttr, *, pid: int, cpu: int, subject: str) -> Fd:
    """Open an event. ``pid`` and ``cpu``: -1 for any, but not both. Raises ``BpfError``.

    What ``attr`` has addresses of must stay referenced until this returns.
    """
    number, function = _libc_syscall()
    attr.size = ctypes.sizeof(attr)
    result = function(number, ctypes.addressof(attr), pid, cpu, -1, _CLOEXEC)
    if result >= 0:
        return Fd(result)
    code = ctypes.get_errno()
    if code in (errno.EPERM, errno.EACCES):
        # The kernel's rules tightened for some events: what CAP_PERFMON was enough for may need more.
        need = Need.PERFMON if lacking(Need.PERFMON) else Need.SYS_ADMIN
        raise PermissionDenied(code, Phase.ATTACH, subject, detail=f"{explain_denial(need)}{_paranoia()}")
    found = error(code, Phase.ATTACH, subject, need=Need.PERFMON)
    if code == errno.ESRCH:
        found.detail = f"there is no process {pid}"
    raise found


def _paranoia() -> str:
    try:
        return f" (sysctl kernel.perf_event_paranoid is {_PARANOID.read_text().strip()})"
    except OSError:
        return " (this kernel has no perf events: CONFIG_PERF_EVENTS)"


class PerfLink(HeldLink):
    """A program on a perf event through a bpf_link. ``event`` is the event's descriptor."""

    def __init__(self, handle: Fd, event: Fd, program: LoadedProgram, target: str) -> None:
        super().__init__(handle, program, target)
        self.event = event

    def close(self) -> None:
        """Close link and event; detaches unless the link is pinned."""
        super().close()
        self.event.close()


def attach_to_event(
    program: LoadedProgram,
    event: Fd,
    subject: str,
    *,
    cookie: int = 0,
    method: PerfMethod | None = None,
    cleanup: Callable[[], None] | None = None,
) -> Link:
    """Put ``program`` on ``event``, which belongs to the link from now on, or is closed on failure.

    ``cookie``: what ``bpf_get_attach_cookie`` gives. ``method``: a link unless the kernel has none, if not chosen.
    ``cleanup``: called once the program is off and the event is closed, also on failure. Raises ``BpfError``.
    """
    try:
        handle = _link(program, event, subject, cookie, method)
        if handle is None:
            _ioctl(program, event, subject)
    except BaseException:
        event.close()
        if cleanup is not None:
            cleanup()
        raise
    if handle is not None and cleanup is None:
        return PerfLink(handle, event, program, subject)

    def undo() -> None:
        if handle is not None:
            handle.close()
        event.close()
        if cleanup is not None:
            cleanup()

    return OtherLink(program, subject, undo)


def _link(
    program: LoadedProgram, event: Fd, subject: str, cookie: int, method: PerfMethod | None
) -> Fd | None:
    """A bpf_link; ``None`` if the ioctl is wanted, or is all that this kernel has."""
    if method is not PerfMethod.IOCTL:
        attr = LinkCreatePerf(program.fd, event.fileno(), AttachType.PERF_EVENT, bpf_cookie=cookie)
        try:
            return bpf_fd(
                BpfCmd.LINK_CREATE, attr, Phase.ATTACH, f"{program.name!r} {subject}", need=TRACING_NEED
            )
        except BpfError as found:
            if found.errno == errno.EINVAL and has_perf_links():
                found.detail = f"a {program.type.name} program does not fit this event"
            if found.errno != errno.EINVAL or has_perf_links() or method is PerfMethod.LINK:
                raise
    if cookie:
        detail = "a cookie needs a bpf_link of a perf event, which came with Linux 5.15"
        raise NotSupported(errno.EOPNOTSUPP, Phase.ATTACH, subject, detail=detail)
    return None


@functools.cache
def has_perf_links() -> bool:
    """Whether this kernel makes links of perf events (5.15): only then does it look for the event."""
    from pyebpf.runtime.probe import load_minimal

    with load_minimal(ProgType.TRACEPOINT) as program:
        attr = LinkCreatePerf(program.fileno(), _NO_FD, AttachType.PERF_EVENT)
        return call(BpfCmd.LINK_CREATE, attr) == -errno.EBADF


def _ioctl(program: LoadedProgram, event: Fd, subject: str) -> None:
    for request, argument in ((_IOC_SET_BPF, program.fd), (_IOC_ENABLE, 0)):
        try:
            fcntl.ioctl(event.fileno(), _request(request), argument)
        except OSError as found:
            code = found.errno or errno.EINVAL
            refused = error(code, Phase.ATTACH, f"{program.name!r} {subject}", need=TRACING_NEED)
            if code == errno.EINVAL:
                refused.detail = f"a {program.type.name} program does not fit this event"
            raise refused from None


def _request(request: int) -> int:
    other = os.uname().machine.startswith(("ppc", "mips"))
    return _OTHER_DIRECTIONS[request] if other else request
