"""``pyebpf doctor``: what this machine and this process allow, and the command that mends what is missing.

Each check looks at one thing and gives findings; none of them changes anything. Sources: capabilities(7),
Documentation/admin-guide/sysctl (kernel.unprivileged_bpf_disabled, net.core.bpf_jit_*), kernel_lockdown(7),
bpf(2), kernel/bpf/Kconfig.
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from pyebpf import enums
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass
from pyebpf.runtime import privilege
from pyebpf.runtime.privilege import Capability

if TYPE_CHECKING:
    from typing import Final


class State(enums.Enum):
    """How a finding is meant."""

    OK = "ok"
    WARNING = "warning"  # something works less well, or not for all programs
    MISSING = "missing"  # something does not work


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. ``mend``: a command, or what to ask the administrator for."""

    subject: str
    state: State
    text: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What ``examine`` found. ``loads``: whether the kernel loads programs for this process."""

    findings: tuple[Finding, ...]
    loads: bool

    def text(self) -> str:
        """For a terminal: a line for each finding, the mending command below it."""
        width = max(len(f.subject) for f in self.findings)
        lines: list[str] = []
        for found in self.findings:
            lines.append(f"{found.state.value:<7}  {found.subject:<{width}}  {found.text}")
            if found.mend:
                lines.append(f"{'':9}{'':{width}}  → {found.mend}")
        verdict = "this process may load programs" if self.loads else "this process may not load programs"
        return "\n".join([*lines, "", verdict])

    def json(self) -> str:
        """The same for programs: ``loads`` and ``findings``, each with subject, state, text and mend."""
        findings = [
            {"subject": f.subject, "state": f.state.value, "text": f.text, "mend": f.mend}
            for f in self.findings
        ]
        return json.dumps({"loads": self.loads, "findings": findings}, indent=2)


def examine() -> Report:
    """Look at everything."""
    findings = [*_python(), *_machine()]
    if sys.platform != "linux":
        text = f"this is {sys.platform}; eBPF programs run in Linux kernels"
        findings.append(
            Finding("kernel", State.MISSING, text, "run pyebpf on Linux, a virtual machine will do")
        )
        return Report(tuple(findings), loads=False)
    types = list(_program_types())
    findings += [*_kernel(), *_capabilities(), *_unprivileged(), *_lockdown(), *_jit(), *_btf(), *_bpffs()]
    findings += [*_memlock(), *_options(), *types]
    return Report(tuple(findings), loads=any(f.state is State.OK for f in types))


def _read(path: str) -> str | None:
    """The text of a file of the kernel; ``None`` where it is not there or not for this user."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _python() -> Iterator[Finding]:
    release = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", State.OK, f"{release} at {os.path.realpath(sys.executable)}")


def _machine() -> Iterator[Finding]:
    yield Finding("built-in machine", State.OK, "import, check, build and run(data) work without the kernel")


def _kernel() -> Iterator[Finding]:
    from pyebpf.runtime.info import kernel_release

    release = kernel_release()
    text = f"Linux {platform.release()} on {platform.machine()}"
    if release < (5, 4, 0):
        yield Finding(
            "kernel", State.WARNING, f"{text} is older than pyebpf is made for", "Linux 5.4 or later"
        )
    else:
        yield Finding("kernel", State.OK, text)


_WANTED: Final = (
    (Capability.BPF, State.MISSING, "loads programs and makes maps"),
    (Capability.NET_ADMIN, State.WARNING, "loads and attaches XDP, tc and sk_skb programs"),
    (
        Capability.PERFMON,
        State.WARNING,
        "lets programs move packet pointers by variables, and read the kernel",
    ),
    (Capability.NET_RAW, State.WARNING, "opens packet sockets (bpf.raw_socket)"),
)


def _capabilities() -> Iterator[Finding]:
    have = privilege.effective_capabilities()
    admin = bool(have >> Capability.SYS_ADMIN & 1)
    for cap, state, what in _WANTED:
        if have >> cap & 1 or (admin and cap is not Capability.NET_RAW):
            yield Finding(f"CAP_{cap.name}", State.OK, what)
        else:
            mend = privilege.setcap_command([cap])
            yield Finding(f"CAP_{cap.name}", state, f"not there; it {what}", mend)
    if privilege.in_child_user_namespace():
        text = "capabilities count only in this process' own user namespace, where bpf(2) needs a BPF token"
        yield Finding("user namespace", State.MISSING, text, "run outside of the container or namespace")


def _unprivileged() -> Iterator[Finding]:
    value = _read("/proc/sys/kernel/unprivileged_bpf_disabled")
    if value == "0":
        text = "0: every user may load socket filters; that is how kernels were attacked"
        mend = "sudo sysctl kernel.unprivileged_bpf_disabled=2"
        yield Finding("unprivileged_bpf_disabled", State.WARNING, text, mend)
    elif value is not None:
        yield Finding(
            "unprivileged_bpf_disabled", State.OK, f"{value}: bpf(2) needs a capability, as it should"
        )


def _lockdown() -> Iterator[Finding]:
    match privilege.lockdown():
        case "" | "none" as mode:
            yield Finding("lockdown", State.OK, mode or "not built in")
        case "integrity":
            yield Finding(
                "lockdown", State.WARNING, "integrity: programs must not write to kernel or user memory"
            )
        case mode:
            text = f"{mode}: programs must not read kernel memory"
            yield Finding("lockdown", State.WARNING, text, "boot without lockdown=confidentiality")


def _jit() -> Iterator[Finding]:
    match _read("/proc/sys/net/core/bpf_jit_enable"):
        case "0":
            mend = "sudo sysctl net.core.bpf_jit_enable=1"
            yield Finding("jit", State.WARNING, "off: programs are interpreted, ten times slower", mend)
        case None:
            yield Finding("jit", State.WARNING, "/proc/sys/net/core/bpf_jit_enable cannot be read")
        case _:
            yield Finding("jit", State.OK, "on")
    if _read("/proc/sys/net/core/bpf_jit_harden") == "2":
        mend = "sudo sysctl net.core.bpf_jit_harden=1"
        yield Finding(
            "jit hardening", State.WARNING, "2: constants are blinded for root too, which costs time", mend
        )


def _btf() -> Iterator[Finding]:
    if Path("/sys/kernel/btf/vmlinux").exists():
        yield Finding("kernel types", State.OK, "/sys/kernel/btf/vmlinux")
    else:
        text = "/sys/kernel/btf/vmlinux is missing: kernel functions cannot be called"
        yield Finding("kernel types", State.WARNING, text, "a kernel with CONFIG_DEBUG_INFO_BTF=y")


def _bpffs() -> Iterator[Finding]:
    mounts = [line.split() for line in (_read("/proc/mounts") or "").splitlines()]
    places = [words[1] for words in mounts if len(words) > 2 and words[2] == "bpf"]
    if places:
        yield Finding("bpffs", State.OK, places[0])
    else:
        mend = "sudo mount -t bpf bpf /sys/fs/bpf"
        yield Finding("bpffs", State.WARNING, "not mounted: nothing can be pinned", mend)


def _memlock() -> Iterator[Finding]:
    from pyebpf.runtime.info import kernel_release

    if kernel_release() >= (5, 11, 0):
        return
    import resource

    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if limit == resource.RLIM_INFINITY:
        yield Finding("locked memory", State.OK, "unlimited")
    else:
        text = f"{limit} bytes; maps count against it before Linux 5.11"
        yield Finding("locked memory", State.WARNING, text, "ulimit -l unlimited")


OPTIONS: Final = (
    ("CONFIG_BPF_SYSCALL", State.MISSING, "bpf(2) itself"),
    ("CONFIG_BPF_JIT", State.WARNING, "native code"),
    ("CONFIG_DEBUG_INFO_BTF", State.WARNING, "kernel functions, CO-RE"),
    ("CONFIG_NET_CLS_BPF", State.WARNING, "tc programs before 6.6"),
    ("CONFIG_NET_CLS_ACT", State.WARNING, "tc programs"),
    ("CONFIG_BPF_STREAM_PARSER", State.WARNING, "sk_skb programs and sockmaps"),
    ("CONFIG_CGROUP_BPF", State.WARNING, "programs on cgroups"),
    ("CONFIG_KPROBES", State.WARNING, "programs on kernel functions"),
    ("CONFIG_BPF_LSM", State.WARNING, "security hooks"),
    ("CONFIG_XDP_SOCKETS", State.WARNING, "XDP to user space"),
)
"""Options that features need: the name, how bad it is to miss it, and the feature."""


def kernel_options() -> dict[str, str] | None:
    """The configuration of the running kernel, option → ``y``, ``m`` or another value; ``None`` where no file tells."""
    release = platform.release()
    try:
        text = gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()
    except OSError:
        for path in (f"/boot/config-{release}", f"/lib/modules/{release}/config"):
            found = _read(path)
            if found is not None:
                text = found
                break
        else:
            return None
    pairs = (line.partition("=") for line in text.splitlines() if line.startswith("CONFIG_"))
    return {name: value for name, _, value in pairs}


def _options() -> Iterator[Finding]:
    options = kernel_options()
    if options is None:
        text = f"neither /proc/config.gz nor /boot/config-{platform.release()} can be read"
        yield Finding("kernel options", State.WARNING, text, "sudo modprobe configs")
        return
    for name, state, what in OPTIONS:
        value = options.get(name)
        if value in ("y", "m"):
            yield Finding(name, State.OK, f"{value}: {what}")
        else:
            yield Finding(name, state, f"not set: {what}", f"a kernel with {name}=y")


def _program_types() -> Iterator[Finding]:
    from pyebpf.runtime.errors import PermissionDenied, errno_name
    from pyebpf.runtime.probe import refusal
    from pyebpf.uapi.programs import KINDS

    for kind in KINDS:
        why = refusal(kind.prog_type, kind.attach_type)
        subject = f"@bpf.{kind.name}"
        if why is None:
            yield Finding(subject, State.OK, "loads")
        elif isinstance(why, PermissionDenied):
            lacking = privilege.lacking(privilege.program_need(kind.prog_type))
            mend = privilege.setcap_command(lacking) if lacking else ""
            names = " and ".join(f"CAP_{cap.name}" for cap in lacking)
            yield Finding(subject, State.MISSING, f"needs {names}" if lacking else why.detail, mend)
        else:
            text = f"this kernel does not load it ({errno_name(why.errno or 0)})"
            major, minor = kind.since
            yield Finding(
                subject, State.MISSING, text, f"Linux {major}.{minor} or later, with its option above"
            )
