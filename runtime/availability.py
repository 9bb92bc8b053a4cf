"""In which ways this kernel lets this process attach programs, found by trying each with the shortest program."""

from __future__ import annotations

import ctypes
import enum
import errno
import functools
from collections.abc import Callable
from typing import Final

from pyebpf.runtime.attrs_tracing import LinkCreateKprobes
from pyebpf.runtime.errors import BpfError, ObjectError, errno_name
from pyebpf.runtime.kernel_names import ITERATOR, LSM_HOOK, RAW_TRACEPOINT, btf_functions, targets
from pyebpf.runtime.tracefs import root
from pyebpf.uapi.constants import AttachType, BpfCmd, ProgType


class Way(enum.Enum):
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


def _many_probes() -> str:
    from pyebpf.runtime.probe import load_minimal
    from pyebpf.runtime.syscall import call

    try:
        program = load_minimal(ProgType.KPROBE, AttachType.TRACE_KPROBE_MULTI)
    except BpfError as found:
        return str(found)
    names = (ctypes.c_char_p * 1)(b"no_such_function_here")
    attr = LinkCreateKprobes(0, 0, AttachType.TRACE_KPROBE_MULTI, cnt=1, syms=ctypes.addressof(names))
    with program:
        attr.prog_fd = program.fileno()
        # A kernel that has such links looks for the function.
        known = call(BpfCmd.LINK_CREATE, attr) == -errno.ESRCH
    return "" if known else "this kernel has no kprobe.multi, which came with Linux 5.18 with CONFIG_FPROBE"


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
    Way.KPROBE_MULTI: _many_probes,
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
