"""In which ways this kernel lets this process attach programs, found by trying each with the shortest program."""

from __future__ import annotations

import errno
import functools
from collections.abc import Callable

from pyebpf import enums
from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.errors import BpfError, ObjectError, errno_name
from pyebpf.runtime.kernel_names import ITERATOR, LSM_HOOK, RAW_TRACEPOINT, btf_functions, targets
from pyebpf.runtime.tracefs import root
from pyebpf.uapi.constants import AttachType, ProgType

if TYPE_CHECKING:
    from typing import Final


class Way(enums.Enum):
    """How a program is attached; the value is the name of the section."""

    KPROBE = "kprobe"
    KRETPROBE = "kretprobe"
    KPROBE_MULTI = "kprobe.multi"
    KSYSCALL = "ksyscall"
    FENTRY = "fentry"
    FEXIT = "fexit"
    FMOD_RET = "fmod_ret"
    LSM = "lsm"
    TRACEPOINT = "tracepoint"
    RAW_TRACEPOINT = "raw_tracepoint"
    TP_BTF = "tp_btf"
    ITER = "iter"
    UPROBE = "uprobe"
    URETPROBE = "uretprobe"
    UPROBE_MULTI = "uprobe.multi"
    USDT = "usdt"


@functools.cache
def obstacle(way: Way) -> str:
    """Why no program can be attached ``way`` here, whatever the target; empty if programs can."""
    return _OBSTACLES[way]()


def _refused(prog_type: ProgType, attach_type: AttachType | None = None, target: int = 0) -> str:
    """Why the kernel does not load the shortest program."""
    from pyebpf.runtime.probe import load_minimal

    try:
        load_minimal(prog_type, attach_type, attach_btf_id=target).close()
    except BpfError as found:
        return f"the kernel refuses such programs: {errno_name(found.errno or 0)}: {found.detail or found.strerror}"
    return ""


def _probes() -> str:
    from pyebpf.runtime.attach.kprobe import probe_pmu
    from pyebpf.runtime.attach.probe_events import KPROBE_EVENTS, has_probe_events

    if probe_pmu("kprobe") is None and not has_probe_events(KPROBE_EVENTS):
        return "this kernel was built without CONFIG_KPROBES"
    return _refused(ProgType.KPROBE)


def _user_probes() -> str:
    from pyebpf.runtime.attach.kprobe import probe_pmu
    from pyebpf.runtime.attach.probe_events import UPROBE_EVENTS, has_probe_events

    if probe_pmu("uprobe") is None and not has_probe_events(UPROBE_EVENTS):
        return "this kernel was built without CONFIG_UPROBE_EVENTS"
    return _refused(ProgType.KPROBE)


def _many(attach_type: AttachType) -> str:
    from pyebpf.runtime.attach.multi import kind_of, knows_links
    from pyebpf.runtime.probe import load_minimal

    kind = kind_of(attach_type)
    absent = f"this kernel has no {kind.name}, which came with {kind.since}"
    try:
        program = load_minimal(ProgType.KPROBE, attach_type)
    except BpfError as found:
        return absent if found.errno == errno.EINVAL else str(found)
    with program:
        return "" if knows_links(program.fileno(), attach_type) else absent


def _with_target(
    names: Callable[[], dict[str, int]], prog_type: ProgType, attach_type: AttachType, *preferred: str
) -> str:
    """The answer of the kernel for the first target of ``preferred`` that it has, else for any."""
    try:
        known = names()
    except ObjectError as found:
        return str(found)
    target = next((known[name] for name in preferred if name in known), next(iter(known.values()), 0))
    return _refused(prog_type, attach_type, target) if target else "this kernel has no such places"


def _functions(attach_type: AttachType) -> str:
    # Any function with a place for a trampoline would do; these have had one in every kernel.
    return _with_target(btf_functions, ProgType.TRACING, attach_type, "vfs_read", "do_exit")


def _security() -> str:
    from pyebpf.runtime.attach.tracing import active_lsms

    active = active_lsms()
    if active is not None and "bpf" not in active:
        return f"`bpf` is not among the active security modules ({','.join(active)})"
    return _with_target(lambda: targets(LSM_HOOK), ProgType.LSM, AttachType.LSM_MAC, "file_open")


def _events() -> str:
    try:
        root()
    except BpfError as found:
        return str(found)
    return _refused(ProgType.TRACEPOINT)


_OBSTACLES: Final[dict[Way, Callable[[], str]]] = {
    Way.KPROBE: _probes,
    Way.KRETPROBE: _probes,
    Way.KSYSCALL: _probes,
    Way.KPROBE_MULTI: lambda: _many(AttachType.TRACE_KPROBE_MULTI),
    Way.UPROBE: _user_probes,
    Way.URETPROBE: _user_probes,
    Way.USDT: _user_probes,
    Way.UPROBE_MULTI: lambda: _many(AttachType.TRACE_UPROBE_MULTI),
    Way.FENTRY: lambda: _functions(AttachType.TRACE_FENTRY),
    Way.FEXIT: lambda: _functions(AttachType.TRACE_FEXIT),
    Way.FMOD_RET: lambda: _with_target(
        btf_functions, ProgType.TRACING, AttachType.MODIFY_RETURN, "security_file_open"
    ),
    Way.LSM: _security,
    Way.TRACEPOINT: _events,
    Way.RAW_TRACEPOINT: lambda: _refused(ProgType.RAW_TRACEPOINT),
    Way.TP_BTF: lambda: _with_target(
        lambda: targets(RAW_TRACEPOINT), ProgType.TRACING, AttachType.TRACE_RAW_TP, "sched_switch"
    ),
    Way.ITER: lambda: _with_target(
        lambda: targets(ITERATOR), ProgType.TRACING, AttachType.TRACE_ITER, "task"
    ),
}
