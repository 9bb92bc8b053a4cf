"""Kprobes and uprobes as events in tracefs: the way of kernels before 4.17, which have no PMUs for them.

An event belongs to the whole machine and stays until somebody removes it. Kernels since 5.4 add a probe to an event that
has the same name already, whoever made it, so a name must never come twice: it is random. The process's id in it is for
people; ids repeat, in other namespaces and after a process was killed.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.attrs_tracing import PerfEventAttr
from pyebpf.runtime.errors import BpfError
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.perf_open import ANY_CPU, ANY_PROCESS, perf_event_open
from pyebpf.runtime.tracefs import event_id, refused, root

if TYPE_CHECKING:
    from typing import Final


KPROBE_EVENTS: Final = "kprobe_events"
UPROBE_EVENTS: Final = "uprobe_events"
_TRACEPOINT: Final = 2
_GROUP: Final = "pyebpf"
_RANDOM: Final = 8  # bytes of a name
_ATTEMPTS: Final = 20
_PAUSE: Final = 0.05  # seconds


def has_probe_events(file: str) -> bool:
    """Whether tracefs makes such events: ``KPROBE_EVENTS`` or ``UPROBE_EVENTS``."""
    try:
        return os.path.exists(f"{root()}/{file}")
    except OSError:  # a BpfError is one
        return False


def open_probe_event(
    file: str, place: str, subject: str, *, returns: bool, pid: int = ANY_PROCESS
) -> tuple[Fd, Callable[[], None]]:
    """Make an event at ``place`` (``vfs_read+0x10``, ``/usr/bin/bash:0x1000``) and open it; with what removes it once it is
    closed again. Raises ``BpfError``."""
    group, name = f"{_GROUP}_{os.getpid()}", f"p{os.urandom(_RANDOM).hex()}"
    _write(file, f"{'r' if returns else 'p'}:{group}/{name} {place}", subject)
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            _remove(file, f"-:{group}/{name}", subject)

    try:
        attr = PerfEventAttr(type=_TRACEPOINT, config=event_id(group, name), sample_period=1, wakeup_events=1)
        event = perf_event_open(attr, pid=pid, cpu=0 if pid == ANY_PROCESS else ANY_CPU, subject=subject)
    except BaseException:
        remove()
        raise
    return event, remove


def _remove(file: str, line: str, subject: str) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            _write(file, line, subject)
        except BpfError as found:
            if found.errno == errno.ENOENT:
                return
            # The event is in use until the kernel is through with closing it.
            if found.errno != errno.EBUSY or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_PAUSE)
        else:
            return


def _write(file: str, line: str, subject: str) -> None:
    try:
        fd = os.open(f"{root()}/{file}", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)
    except OSError as found:
        if isinstance(found, BpfError):
            raise
        raise refused(found, f"{subject} ({file}: {line})") from None
