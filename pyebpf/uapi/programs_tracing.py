"""The kinds of tracing programs: those that watch functions and events of the kernel and of user programs.

Their decorators name a target (``@bpf.kprobe("vfs_read")``), which may also be given when they are attached. See
``pyebpf.uapi.programs`` for what a row says. Programs that only watch return 0 where an error is not handled.

Source: tools/lib/bpf/libbpf.c (sections), kernel/bpf/verifier.c (``check_return_code()``) of Linux 6.18.
"""

from __future__ import annotations

import errno

from pyebpf.records import replace
from pyebpf.uapi.constants import AttachType, ProgLoadFlag, ProgType
from pyebpf.uapi.contexts import RAW_TRACEPOINT_ARGS, TRACING_ARGS
from pyebpf.uapi.program_kind import Arguments, KindOption, PacketAccess, ProgramKind, TargetKind
from pyebpf.uapi.registers import X86_64


def _sleepable(section: str, since: tuple[int, int]) -> tuple[KindOption, ...]:
    return (KindOption("sleepable", f"{section}.s", ProgLoadFlag.SLEEPABLE, since),)


KPROBE = ProgramKind(
    name="kprobe",
    prog_type=ProgType.KPROBE,
    attach_type=None,
    section="kprobe",
    context=X86_64.context,
    error_verdict=0,
    packet=PacketAccess.NONE,
    test_run=False,
    since=(4, 1),
    target=TargetKind.FUNCTION,
    arguments=Arguments.REGISTERS,
    watches=True,
)

KRETPROBE = replace(KPROBE, name="kretprobe", section="kretprobe", arguments=Arguments.RESULT)

KSYSCALL = replace(
    KPROBE, name="ksyscall", section="ksyscall", target=TargetKind.SYSCALL, arguments=Arguments.SYSCALL
)

KRETSYSCALL = replace(KSYSCALL, name="kretsyscall", section="kretsyscall", arguments=Arguments.RESULT)

KPROBE_MULTI = replace(
    KPROBE,
    name="kprobe_multi",
    attach_type=AttachType.TRACE_KPROBE_MULTI,
    section="kprobe.multi",
    since=(5, 18),
)

KRETPROBE_MULTI = replace(
    KPROBE_MULTI, name="kretprobe_multi", section="kretprobe.multi", arguments=Arguments.RESULT
)

KPROBE_SESSION = replace(
    KPROBE_MULTI,
    name="kprobe_session",
    attach_type=AttachType.TRACE_KPROBE_SESSION,
    section="kprobe.session",
    since=(6, 10),
    return_range=(0, 1),
    watches=False,
)

UPROBE = replace(
    KPROBE,
    name="uprobe",
    section="uprobe",
    target=TargetKind.USER_FUNCTION,
    options=_sleepable("uprobe", (6, 0)),
)

URETPROBE = replace(
    UPROBE,
    name="uretprobe",
    section="uretprobe",
    arguments=Arguments.RESULT,
    options=_sleepable("uretprobe", (6, 0)),
)

UPROBE_MULTI = replace(
    UPROBE,
    name="uprobe_multi",
    attach_type=AttachType.TRACE_UPROBE_MULTI,
    section="uprobe.multi",
    since=(6, 6),
    options=_sleepable("uprobe.multi", (6, 6)),
)

URETPROBE_MULTI = replace(
    UPROBE_MULTI,
    name="uretprobe_multi",
    section="uretprobe.multi",
    arguments=Arguments.RESULT,
    options=_sleepable("uretprobe.multi", (6, 6)),
)

USDT = replace(
    UPROBE,
    name="usdt",
    section="usdt",
    since=(5, 15),  # arguments are found by the attach cookie
    target=TargetKind.USDT,
    arguments=Arguments.USDT,
    options=_sleepable("usdt", (6, 0)),
)

TRACEPOINT = ProgramKind(
    name="tracepoint",
    prog_type=ProgType.TRACEPOINT,
    attach_type=None,
    section="tracepoint",
    context=None,  # each tracepoint has its own
    error_verdict=0,
    packet=PacketAccess.NONE,
    test_run=False,
    since=(4, 7),
    target=TargetKind.TRACEPOINT,
    watches=True,
)

RAW_TRACEPOINT = ProgramKind(
    name="raw_tracepoint",
    prog_type=ProgType.RAW_TRACEPOINT,
    attach_type=None,
    section="raw_tracepoint",
    context=RAW_TRACEPOINT_ARGS,
    error_verdict=0,
    packet=PacketAccess.NONE,
    test_run=True,
    since=(4, 17),
    target=TargetKind.RAW_TRACEPOINT,
    arguments=Arguments.SLOTS,
    watches=True,
)

RAW_TRACEPOINT_WRITABLE = replace(
    RAW_TRACEPOINT,
    name="raw_tracepoint_writable",
    prog_type=ProgType.RAW_TRACEPOINT_WRITABLE,
    section="raw_tracepoint.w",
    since=(5, 2),
)

TP_BTF = ProgramKind(
    name="tp_btf",
    prog_type=ProgType.TRACING,
    attach_type=AttachType.TRACE_RAW_TP,
    section="tp_btf",
    context=TRACING_ARGS,
    error_verdict=0,
    packet=PacketAccess.NONE,
    test_run=False,
    since=(5, 5),
    target=TargetKind.RAW_TRACEPOINT,
    arguments=Arguments.BTF,
    watches=True,
)

FENTRY = replace(
    TP_BTF,
    name="fentry",
    attach_type=AttachType.TRACE_FENTRY,
    section="fentry",
    return_range=(0, 0),
    target=TargetKind.FUNCTION,
    options=_sleepable("fentry", (5, 10)),
)

FEXIT = replace(
    FENTRY,
    name="fexit",
    attach_type=AttachType.TRACE_FEXIT,
    section="fexit",
    arguments=Arguments.BTF_RESULT,
    options=_sleepable("fexit", (5, 10)),
)

FMOD_RET = replace(
    FEXIT,
    name="fmod_ret",
    attach_type=AttachType.MODIFY_RETURN,
    section="fmod_ret",
    return_range=None,
    since=(5, 7),
    options=_sleepable("fmod_ret", (5, 10)),
    watches=False,
)

LSM = replace(
    TP_BTF,
    name="lsm",
    prog_type=ProgType.LSM,
    attach_type=AttachType.LSM_MAC,
    section="lsm",
    error_verdict=-errno.EPERM,
    since=(5, 7),
    target=TargetKind.LSM_HOOK,
    arguments=Arguments.BTF_RESULT,
    return_range=(-4095, 0),
    options=_sleepable("lsm", (5, 11)),
    watches=False,
    gpl_only=True,  # bpf_lsm_verify_prog()
)

ITER = replace(
    TP_BTF,
    name="iter",
    attach_type=AttachType.TRACE_ITER,
    section="iter",
    since=(5, 8),
    target=TargetKind.ITERATOR,
    return_range=(0, 1),
    options=_sleepable("iter", (5, 18)),
)

PERF_EVENT = ProgramKind(
    name="perf_event",
    prog_type=ProgType.PERF_EVENT,
    attach_type=None,
    section="perf_event",
    context=X86_64.sample,
    error_verdict=0,
    packet=PacketAccess.NONE,
    test_run=False,
    since=(4, 9),
    watches=True,
)

TRACING_KINDS: tuple[ProgramKind, ...] = (
    KPROBE,
    KRETPROBE,
    KSYSCALL,
    KRETSYSCALL,
    KPROBE_MULTI,
    KRETPROBE_MULTI,
    KPROBE_SESSION,
    UPROBE,
    URETPROBE,
    UPROBE_MULTI,
    URETPROBE_MULTI,
    USDT,
    TRACEPOINT,
    RAW_TRACEPOINT,
    RAW_TRACEPOINT_WRITABLE,
    TP_BTF,
    FENTRY,
    FEXIT,
    FMOD_RET,
    LSM,
    ITER,
    PERF_EVENT,
)
