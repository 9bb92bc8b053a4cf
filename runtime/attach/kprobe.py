"""kprobes and kretprobes: programs at any instruction of the kernel, and where its functions return."""

from __future__ import annotations

import errno
import functools

from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass
from pyebpf.runtime.attach.link import Link
from pyebpf.runtime.attach.perf_open import PerfMethod, attach_to_event
from pyebpf.runtime.attach.probe_events import KPROBE_EVENTS, has_probe_events, open_probe_event
from pyebpf.runtime.attach.targets import expect_kernel_function, explain_kprobe
from pyebpf.runtime.attrs import address
from pyebpf.runtime.attrs_tracing import PerfEventAttr
from pyebpf.runtime.errors import BpfError, NotSupported, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.perf_open import ANY_PROCESS, perf_event_open
from pyebpf.runtime.program import LoadedProgram, require_program
from pyebpf.runtime.tracefs import file_text
from pyebpf.uapi.constants import ProgType

if TYPE_CHECKING:
    from typing import Final


_DEVICES: Final = "/sys/bus/event_source/devices"


@dataclass(frozen=True, slots=True)
class ProbePmu:
    """The unit of perf that makes probes: its number as a type of events, and at which bits of ``config`` it looks."""

    type: int
    return_bit: int
    ref_ctr_shift: int


@functools.cache
def probe_pmu(name: str) -> ProbePmu | None:
    """The unit ``kprobe`` or ``uprobe``, if this kernel has it."""
    unit = f"{_DEVICES}/{name}"
    try:
        number = int(file_text(f"{unit}/type"))
        return ProbePmu(number, _bit(f"{unit}/format/retprobe", 0), _bit(f"{unit}/format/ref_ctr_offset", 32))
    except (OSError, ValueError):
        return None


def _bit(path: str, usual: int) -> int:
    """The first bit in a description such as ``config:32-63``."""
    try:
        field, _, bits = file_text(path).strip().partition(":")
    except OSError:
        return usual
    first = bits.partition("-")[0]
    return int(first) if field == "config" and first.isdecimal() else usual


def attach_kprobe(
    program: LoadedProgram,
    function: str | int,
    *,
    offset: int = 0,
    returns: bool = False,
    cookie: int = 0,
    method: PerfMethod | None = None,
) -> Link:
    """Run ``program`` whenever the kernel reaches ``function``, or, with ``returns``, leaves it.

    Args:
        function: its name, ``module:name`` for one in a module, or its address.
        offset: bytes from there to the instruction.
        cookie: what ``bpf_get_attach_cookie`` gives in the program.
        method: the first of a bpf_link, an ioctl and tracefs that this kernel has, unless chosen.

    Raises:
        TargetError: there is no such function, or it takes no probes; tells why, with near names.
        NotSupported: this kernel has no kprobes, or no cookies for them.
        BpfError: the kernel refused something else.
        TypeError: the program is of another type.
    """
    require_program(program, "a kprobe", ProgType.KPROBE)
    subject = check_place(function, offset, returns=returns)
    pmu = probe_pmu("kprobe")
    if pmu is None and not has_probe_events(KPROBE_EVENTS):
        detail = "this kernel has no kprobes (it was built without CONFIG_KPROBES or CONFIG_KPROBE_EVENTS)"
        raise NotSupported(errno.EOPNOTSUPP, Phase.ATTACH, subject, detail=detail)
    cleanup = None
    try:
        if pmu is None or method is PerfMethod.TRACEFS:
            event, cleanup = open_probe_event(
                KPROBE_EVENTS, event_place(function, offset), subject, returns=returns
            )
        else:
            event = _open(pmu, function, offset, subject, returns)
    except BpfError as refused:
        raise explain_kprobe(refused, function, offset, subject) from None
    return attach_to_event(program, event, subject, cookie=cookie, method=method, cleanup=cleanup)


def check_place(function: str | int, offset: int, *, returns: bool) -> str:
    """Words for a place that ``attach_kprobe`` takes, as far as one can tell before. Raises ``TargetError``,
    ``ValueError``."""
    what = "the return of" if returns else "kernel function"
    name = function if isinstance(function, str) else f"{function:#x}"
    subject = f"to {what} {name!r}" + (f"+{offset:#x}" if offset else "")
    if returns and offset:
        raise ValueError(f"a function returns as a whole: there is no offset {offset:#x} for that")
    if offset < 0:
        raise ValueError(f"an offset is not negative: {offset}")
    if isinstance(function, str):
        expect_kernel_function(function, subject, offset)
    return subject


def event_place(function: str | int, offset: int) -> str:
    """A place as tracefs takes it; offsets are from names only."""
    if isinstance(function, int):
        return f"{function + offset:#x}"
    return f"{function}+{offset:#x}" if offset else function


def _open(pmu: ProbePmu, function: str | int, offset: int, subject: str, returns: bool) -> Fd:
    text = function.encode() if isinstance(function, str) else None
    attr = PerfEventAttr(type=pmu.type, config=int(returns) << pmu.return_bit)
    attr.config1 = 0 if text is None else address(text)
    attr.config2 = offset if isinstance(function, str) else function + offset
    return perf_event_open(attr, pid=ANY_PROCESS, cpu=0, subject=subject)
