"""Tracepoints: as events with a record (``tp``), and raw, with the arguments themselves (``raw_tp``)."""

from __future__ import annotations

import errno
import functools

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.attach.link import HeldLink, Link
from pyebpf.runtime.attach.perf_open import NO_FD, TRACING_NEED, PerfMethod, attach_to_event
from pyebpf.runtime.attrs import address
from pyebpf.runtime.attrs_tracing import PerfEventAttr, RawTracepointOpen
from pyebpf.runtime.errors import BpfError, NotSupported, Phase, Problem, TargetError
from pyebpf.runtime.perf_open import ANY_PROCESS, perf_event_open
from pyebpf.runtime.program import LoadedProgram, require_program
from pyebpf.runtime.syscall import bpf_fd, call
from pyebpf.runtime.tracefs import all_events, event_id
from pyebpf.uapi.constants import BpfCmd, ProgType

if TYPE_CHECKING:
    from typing import Final


_TRACEPOINT: Final = 2


def attach_tracepoint(
    program: LoadedProgram,
    category: str,
    name: str,
    *,
    cookie: int = 0,
    method: PerfMethod | None = None,
) -> Link:
    """Run ``program`` at every event ``category:name`` of tracefs, such as ``syscalls:sys_enter_openat``.

    ``cookie``: what ``bpf_get_attach_cookie`` gives. ``method``: a bpf_link, or an ioctl where the kernel has no links
    for tracepoints (before 5.15), unless chosen.

    Raises ``TargetError`` with near names if there is no such event, ``BpfError`` (EACCES if the program reads behind
    the end of the record), ``TypeError`` for a program of another type.
    """
    require_program(program, "a tracepoint", ProgType.TRACEPOINT)
    subject = f"to tracepoint {category}:{name}"
    if method is PerfMethod.TRACEFS:
        raise ValueError("TRACEFS is a method for kprobes and uprobes: a tracepoint is an event already")
    attr = PerfEventAttr(type=_TRACEPOINT, config=event_id(category, name), sample_period=1, wakeup_events=1)
    event = perf_event_open(attr, pid=ANY_PROCESS, cpu=0, subject=subject)
    try:
        return attach_to_event(program, event, subject, cookie=cookie, method=method)
    except BpfError as refused:
        if refused.errno == errno.EACCES:
            refused.detail = "the program reads more of the record than this event has"
        raise


def attach_raw_tracepoint(program: LoadedProgram, name: str, *, cookie: int = 0) -> HeldLink:
    """Run ``program`` whenever the kernel reaches the raw tracepoint ``name``, such as ``sched_switch``.

    A program for writable raw tracepoints may change what the tracepoint's argument points at, where the kernel admits
    that. ``cookie`` needs Linux 6.10. Raises ``TargetError`` with near names if there is no such tracepoint,
    ``NotSupported``, ``BpfError``, ``TypeError`` for a program of another type.
    """
    require_program(program, "a raw tracepoint", ProgType.RAW_TRACEPOINT, ProgType.RAW_TRACEPOINT_WRITABLE)
    subject = _raw_subject(name)
    text = name.encode()
    attr = RawTracepointOpen(address(text), program.fd, cookie=cookie)
    try:
        handle = bpf_fd(
            BpfCmd.RAW_TRACEPOINT_OPEN, attr, Phase.ATTACH, f"{program.name!r} {subject}", need=TRACING_NEED
        )
    except BpfError as refused:
        raise _explained(refused, program, name, subject, cookie) from None
    return HeldLink(handle, program, subject)


def check_raw_tracepoint(name: str) -> None:
    """Raise ``TargetError`` for a name that ``attach_raw_tracepoint`` surely takes no program for; no program is needed."""
    subject = _raw_subject(name)
    if name not in _named_events():  # which are far sooner read than the kernel's types
        from pyebpf.runtime.attach.targets import expect_raw_tracepoint

        expect_raw_tracepoint(name, subject)


def _raw_subject(name: str) -> str:
    subject = f"to raw tracepoint {name}"
    if not name or "\0" in name:
        raise TargetError(Problem.UNKNOWN, subject, detail=f"{name!r} is no name of a tracepoint")
    return subject


@functools.cache
def has_raw_cookies() -> bool:
    """Whether this kernel takes cookies of raw tracepoints (6.10), so that it looks for the program."""
    return call(BpfCmd.RAW_TRACEPOINT_OPEN, RawTracepointOpen(0, NO_FD, cookie=1)) != -errno.EINVAL


def no_raw_cookie(subject: str) -> NotSupported:
    """The error for a cookie that the kernel does not take."""
    detail = "a cookie of a raw tracepoint came with Linux 6.10"
    return NotSupported(errno.EOPNOTSUPP, Phase.ATTACH, subject, detail=detail)


def _named_events() -> list[str]:
    """The events that most likely have a raw tracepoint of the same name, as far as this process may know them."""
    try:
        return [event for category, event in all_events() if category != "syscalls"]
    except BpfError:
        return []


def _explained(refused: BpfError, program: LoadedProgram, name: str, subject: str, cookie: int) -> BpfError:
    if refused.errno == errno.ENOENT:
        from pyebpf.near_names import near
        from pyebpf.runtime.attach.targets import expect_raw_tracepoint

        expect_raw_tracepoint(name, subject)
        detail = f"this kernel has no raw tracepoint {name!r}"
        return TargetError(Problem.UNKNOWN, subject, detail=detail, suggestions=near(name, _named_events()))
    if refused.errno == errno.EINVAL and cookie and not has_raw_cookies():
        return no_raw_cookie(subject)
    if refused.errno == errno.EINVAL and program.type is ProgType.RAW_TRACEPOINT_WRITABLE:
        refused.detail = f"the tracepoint {name!r} is not writable, or less of it than the program writes"
    elif refused.errno == errno.EINVAL:
        refused.detail = f"the program takes more arguments than the tracepoint {name!r} has"
    return refused
