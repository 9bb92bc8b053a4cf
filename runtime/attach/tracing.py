"""Programs whose place in the kernel was named when they were loaded: tp_btf, fentry, fexit, fmod_ret and LSM."""

from __future__ import annotations

import errno

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.attach.link import HeldLink
from pyebpf.runtime.attach.perf_open import TRACING_NEED
from pyebpf.runtime.attach.targets import explain_trampoline
from pyebpf.runtime.attach.tracepoint import has_raw_cookies, no_raw_cookie
from pyebpf.runtime.attrs_tracing import LinkCreateTraced, RawTracepointOpen
from pyebpf.runtime.errors import BpfError, NotSupported, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.program import LoadedProgram, require_program
from pyebpf.runtime.syscall import bpf_fd
from pyebpf.uapi.constants import AttachType, BpfCmd, ProgType

if TYPE_CHECKING:
    from typing import Final


_ACTIVE_LSMS: Final = "/sys/kernel/security/lsm"

_HOOKS: Final = {
    AttachType.TRACE_RAW_TP: "to a tracepoint (tp_btf)",
    AttachType.TRACE_FENTRY: "to the entry of a function",
    AttachType.TRACE_FEXIT: "to the exit of a function",
    AttachType.MODIFY_RETURN: "to the result of a function",
    AttachType.LSM_MAC: "to an LSM hook",
}

_TRAMPOLINES: Final = (AttachType.TRACE_FENTRY, AttachType.TRACE_FEXIT, AttachType.MODIFY_RETURN)


def attach_tracing(program: LoadedProgram, *, cookie: int = 0) -> HeldLink:
    """Run ``program`` at the place in the kernel that it was loaded for.

    ``cookie``: what ``bpf_get_attach_cookie`` gives, from Linux 5.19, at tracepoints from 6.10. Raises ``NotSupported``
    if the kernel cannot, or would never run the program since BPF is no active LSM; ``BpfError`` (EBUSY if the function
    has another fmod_ret program, or too many), ``TargetError`` for a function that cannot be traced; ``TypeError`` for a
    program of another type.
    """
    attach_type = program.attach_type
    require_program(
        program,
        "a hook named at load time",
        ProgType.TRACING,
        ProgType.LSM,
        attach_types=tuple(_HOOKS),
    )
    assert attach_type is not None
    subject = _HOOKS[attach_type]
    if attach_type is AttachType.LSM_MAC:
        _check_lsm(subject)
    if attach_type is AttachType.TRACE_RAW_TP and cookie and not has_raw_cookies():
        # Kernels since 5.19 would take the link and drop the cookie.
        raise no_raw_cookie(subject)
    try:
        handle = _open(program, attach_type, cookie, subject)
    except BpfError as refused:
        if attach_type in _TRAMPOLINES:
            raise explain_trampoline(refused, program, subject) from None
        raise
    return HeldLink(handle, program, subject)


def _open(program: LoadedProgram, attach_type: AttachType, cookie: int, subject: str) -> Fd:
    whole = f"{program.name!r} {subject}"
    attr = LinkCreateTraced(program.fd, 0, attach_type, cookie=cookie)
    try:
        return bpf_fd(BpfCmd.LINK_CREATE, attr, Phase.ATTACH, whole, need=TRACING_NEED)
    except BpfError as refused:
        # Kernels before 5.19 make links of tracing programs by the other command only.
        if refused.errno == errno.EBUSY:
            refused.detail = "somebody else (a live patch, another fmod_ret program) has changed the function"
        elif refused.errno == errno.E2BIG:
            refused.detail = "the function has as many programs as it can have"
        if refused.errno != errno.EINVAL:
            raise
        if cookie:
            detail = "a cookie of a tracing program came with Linux 5.19"
            raise NotSupported(errno.EOPNOTSUPP, Phase.ATTACH, whole, detail=detail) from None
    old = RawTracepointOpen(0, program.fd)
    return bpf_fd(BpfCmd.RAW_TRACEPOINT_OPEN, old, Phase.ATTACH, whole, need=TRACING_NEED)


def active_lsms() -> tuple[str, ...] | None:
    """The security modules that run, in order; ``None`` where the kernel does not tell (securityfs is not mounted)."""
    try:
        with open(_ACTIVE_LSMS) as opened:
            return tuple(opened.read().strip().split(","))
    except OSError:
        return None


def _check_lsm(subject: str) -> None:
    active = active_lsms()
    if active is not None and "bpf" not in active:
        names = ",".join(active)
        detail = (
            f"the kernel would never run it: `bpf` is not among the active security modules ({names}); "
            f"boot with lsm={names},bpf"
        )
        raise NotSupported(errno.EOPNOTSUPP, Phase.ATTACH, subject, detail=detail)
