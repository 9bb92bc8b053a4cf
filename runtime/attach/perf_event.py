"""Sampling: programs at every so many events that software or the processor counts."""

from __future__ import annotations

import errno
import os

from pyebpf import enums
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass
from pyebpf.runtime.attach.link import Link, LinkGroup
from pyebpf.runtime.attach.perf_open import PerfMethod, attach_to_event
from pyebpf.runtime.attrs_tracing import PerfEventAttr
from pyebpf.runtime.cpus import online_cpus
from pyebpf.runtime.errors import BpfError, NotSupported, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.perf_open import ANY_CPU, ANY_PROCESS, perf_event_open
from pyebpf.runtime.program import LoadedProgram, require_program
from pyebpf.uapi.constants import ProgType

if TYPE_CHECKING:
    from typing import Final


_HARDWARE: Final = 0
_SOFTWARE: Final = 1
_RAW: Final = 4
_PERIODS: Final = 1 << 63
_MAX_RATE: Final = "/proc/sys/kernel/perf_event_max_sample_rate"


class SoftwareEvent(enums.IntEnum):
    """What the kernel counts itself: ``enum perf_sw_ids``."""

    CPU_CLOCK = 0
    TASK_CLOCK = 1
    PAGE_FAULTS = 2
    CONTEXT_SWITCHES = 3
    CPU_MIGRATIONS = 4
    PAGE_FAULTS_MIN = 5
    PAGE_FAULTS_MAJ = 6
    ALIGNMENT_FAULTS = 7
    EMULATION_FAULTS = 8
    CGROUP_SWITCHES = 11


class HardwareEvent(enums.IntEnum):
    """What most processors count: ``enum perf_hw_id``."""

    CPU_CYCLES = 0
    INSTRUCTIONS = 1
    CACHE_REFERENCES = 2
    CACHE_MISSES = 3
    BRANCH_INSTRUCTIONS = 4
    BRANCH_MISSES = 5
    BUS_CYCLES = 6
    STALLED_CYCLES_FRONTEND = 7
    STALLED_CYCLES_BACKEND = 8
    REF_CPU_CYCLES = 9


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """An event by the numbers of perf: ``type`` of the unit that counts, 4 for the processor's own, and ``config``."""

    config: int
    type: int = _RAW


PerfEvent = SoftwareEvent | HardwareEvent | OtherEvent


def attach_perf_event(
    program: LoadedProgram,
    event: PerfEvent,
    *,
    frequency: int | None = None,
    period: int | None = None,
    cpu: int | None = None,
    pid: int | None = None,
    cookie: int = 0,
    method: PerfMethod | None = None,
) -> Link:
    """Run ``program`` at samples of ``event``: ``frequency`` times a second, or at every ``period``-th event (of clocks:
    nanosecond).

    Args:
        cpu: only there; without ``cpu`` and ``pid`` on all CPUs that are online now.
        pid: only in this process, with all its threads and those that they start; 0 is this one.
        cookie: what ``bpf_get_attach_cookie`` gives in the program; it is 0 in threads that start later (the kernel
            does not pass it on).
        method: a bpf_link, or an ioctl where the kernel has no links for events (before 5.15), unless chosen.

    Raises:
        ValueError: not exactly one of ``frequency`` and ``period``, or one that is not positive; a negative ``cpu``.
        NotSupported: this machine does not count such events.
        BpfError: the kernel refused something else: ENODEV for a CPU that is offline, ESRCH for no such process.
        TypeError: the program is of another type.
    """
    require_program(program, "a perf event", ProgType.PERF_EVENT)
    if (frequency is None) == (period is None):
        raise ValueError(
            "say how often: by `frequency` (samples a second) or by `period` (events a sample), not both"
        )
    if not 0 < (frequency or period or 0) < _PERIODS:
        raise ValueError(
            f"frequency and period are positive numbers below 2**63, not {frequency or period or 0}"
        )
    if cpu is not None and cpu < 0:
        raise ValueError(f"the number of a CPU is not negative: {cpu}")
    if method is PerfMethod.TRACEFS:
        raise ValueError("TRACEFS is a method for kprobes and uprobes")
    subject = f"to perf event {_name(event)}"
    parts: list[Link] = []
    try:
        for process, processor in _places(cpu, pid):
            where = f"{subject} on CPU {processor}" if processor != ANY_CPU else subject
            opened = _open(event, frequency, period, process, processor, where, many=cpu is None)
            if opened is not None:
                parts.append(attach_to_event(program, opened, where, cookie=cookie, method=method))
    except BaseException:
        for part in parts:
            part.close()
        raise
    if not parts and pid is not None:
        raise _no_process(pid)
    if not parts:
        raise BpfError(errno.ENODEV, Phase.ATTACH, subject, detail="no CPU that is online counts such events")
    return parts[0] if len(parts) == 1 else LinkGroup(program, subject, parts)


def _no_process(pid: int) -> BpfError:
    return BpfError(errno.ESRCH, Phase.ATTACH, f"to process {pid}", detail="there is no such process")


def _name(event: PerfEvent) -> str:
    return f"{event.type}:{event.config:#x}" if isinstance(event, OtherEvent) else event.name


def _places(cpu: int | None, pid: int | None) -> list[tuple[int, int]]:
    """The pairs of task and CPU to open an event for."""
    processor = ANY_CPU if cpu is None else cpu
    if pid is not None:
        try:
            return [(int(task), processor) for task in os.listdir(f"/proc/{pid or os.getpid()}/task")]
        except (FileNotFoundError, ProcessLookupError):
            raise _no_process(pid) from None
    if cpu is not None:
        return [(ANY_PROCESS, cpu)]
    return [(ANY_PROCESS, number) for number in online_cpus()]


def _open(
    event: PerfEvent,
    frequency: int | None,
    period: int | None,
    pid: int,
    cpu: int,
    subject: str,
    *,
    many: bool,
) -> Fd | None:
    """An event; ``None`` if its CPU went offline or its task ended meanwhile, which does not matter to ``many``."""
    kind = event.type if isinstance(event, OtherEvent) else _kind(event)
    config = event.config if isinstance(event, OtherEvent) else int(event)
    attr = PerfEventAttr(
        type=kind, config=config, sample_period=frequency or period, freq=frequency is not None
    )
    attr.inherit = pid != ANY_PROCESS
    try:
        return perf_event_open(attr, pid=pid, cpu=cpu, subject=subject)
    except BpfError as refused:
        if many and refused.errno in (errno.ENODEV, errno.ESRCH):
            return None
        raise _explained(refused, event, frequency or 0, cpu) from None


def _kind(event: SoftwareEvent | HardwareEvent) -> int:
    return _SOFTWARE if isinstance(event, SoftwareEvent) else _HARDWARE


def _explained(refused: BpfError, event: PerfEvent, frequency: int, cpu: int) -> BpfError:
    if refused.errno in (errno.ENOENT, errno.EOPNOTSUPP, errno.ENXIO):
        detail = "this machine does not count such events"
        if not isinstance(event, SoftwareEvent):
            detail += " (a virtual machine often has no counters of the processor; SoftwareEvent.CPU_CLOCK is everywhere)"
        return NotSupported(refused.errno, Phase.ATTACH, refused.subject, detail=detail)
    if refused.errno == errno.EINVAL and frequency > (most := _most_samples()):
        refused.detail = (
            f"{frequency} samples a second are more than sysctl kernel.perf_event_max_sample_rate, {most}"
        )
    elif refused.errno == errno.ENODEV or (
        refused.errno == errno.EINVAL and cpu not in (ANY_CPU, *online_cpus())
    ):
        refused.detail = f"there is no CPU {cpu}, or it is offline"
    elif refused.errno == errno.EINVAL:
        refused.detail = "the unit that counts knows no such event, or does not take samples of it"
    return refused


def _most_samples() -> float:
    """How many samples a second the kernel admits, as far as it tells."""
    try:
        with open(_MAX_RATE) as opened:
            return int(opened.read())
    except (OSError, ValueError):
        return float("inf")
