"""Programs on perf events: a bpf_link (5.15), or an ioctl before that."""

from __future__ import annotations

import errno
import fcntl
import functools
from collections.abc import Callable

from pyebpf import enums
from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.attach.link import HeldLink, Link, OtherLink
from pyebpf.runtime.attrs_tracing import LinkCreatePerf
from pyebpf.runtime.errors import BpfError, NotSupported, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.perf_open import IOC_ENABLE, IOC_SET_BPF, ioctl_number
from pyebpf.runtime.privilege import Need
from pyebpf.runtime.program import LoadedProgram
from pyebpf.runtime.syscall import bpf_fd, call, error
from pyebpf.uapi.constants import AttachType, BpfCmd, ProgType

if TYPE_CHECKING:
    from typing import Final


TRACING_NEED: Final = Need.BPF | Need.PERFMON
NO_FD: Final = 0xFFFF_FFFF


class PerfMethod(enums.Enum):
    """How a program gets onto a perf event."""

    LINK = "link"  # a bpf_link, from Linux 5.15
    IOCTL = "ioctl"  # without cookie and pin
    TRACEFS = "tracefs"  # kprobes and uprobes: an event made in tracefs, for kernels before 4.17


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
            if found.errno != errno.EINVAL:
                raise
            if has_perf_links():
                found.detail = f"a {program.type.name} program does not fit this event"
                raise
    if cookie or method is PerfMethod.LINK:
        what = "a cookie needs a bpf_link" if cookie else "this kernel has no bpf_link"
        detail = f"{what} of a perf event, which came with Linux 5.15"
        raise NotSupported(errno.EOPNOTSUPP, Phase.ATTACH, subject, detail=detail)
    return None


@functools.cache
def has_perf_links() -> bool:
    """Whether this kernel makes links of perf events (5.15): only then does it look for the event."""
    from pyebpf.runtime.probe import load_minimal

    with load_minimal(ProgType.TRACEPOINT) as program:
        attr = LinkCreatePerf(program.fileno(), NO_FD, AttachType.PERF_EVENT)
        return call(BpfCmd.LINK_CREATE, attr) == -errno.EBADF


def _ioctl(program: LoadedProgram, event: Fd, subject: str) -> None:
    for request, argument in ((IOC_SET_BPF, program.fd), (IOC_ENABLE, 0)):
        try:
            fcntl.ioctl(event.fileno(), ioctl_number(request), argument)
        except OSError as found:
            code = found.errno or errno.EINVAL
            refused = error(code, Phase.ATTACH, f"{program.name!r} {subject}", need=TRACING_NEED)
            if code == errno.EINVAL:
                refused.detail = f"a {program.type.name} program does not fit this event"
            raise refused from None
