"""Why the kernel says EPERM, in one sentence: looks at this process and this kernel, never guesses from the
errno.

Sources: capabilities(7), kernel/bpf/syscall.c of 5.8 and later (CAP_BPF and friends),
Documentation/admin-guide for kernel.unprivileged_bpf_disabled, kernel_lockdown(7).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from pyebpf import enums
from pyebpf.hints import TYPE_CHECKING
from pyebpf.uapi.constants import MapType, ProgType

if TYPE_CHECKING:
    from typing import Final


class Capability(enums.IntEnum):
    """Capabilities by bit number (linux/capability.h): those that bpf(2) looks at, and that of packet sockets."""

    NET_ADMIN = 12
    NET_RAW = 13
    SYS_ADMIN = 21
    PERFMON = 38
    BPF = 39


class Need(enums.Flag):
    """What an operation asks for. CAP_SYS_ADMIN stands for any of them."""

    NOTHING = 0
    BPF = enums.auto()
    NET_ADMIN = enums.auto()
    PERFMON = enums.auto()
    SYS_ADMIN = enums.auto()


_CAPABILITIES: Final = {
    Need.BPF: Capability.BPF,
    Need.NET_ADMIN: Capability.NET_ADMIN,
    Need.PERFMON: Capability.PERFMON,
    Need.SYS_ADMIN: Capability.SYS_ADMIN,
}
_PLAIN: Final = frozenset({ProgType.SOCKET_FILTER, ProgType.CGROUP_SKB, ProgType.SYSCALL, ProgType.UNSPEC})
_PERFMON: Final = frozenset(
    {
        ProgType.KPROBE,
        ProgType.TRACEPOINT,
        ProgType.PERF_EVENT,
        ProgType.RAW_TRACEPOINT,
        ProgType.RAW_TRACEPOINT_WRITABLE,
        ProgType.TRACING,
        ProgType.LSM,
        ProgType.STRUCT_OPS,
        ProgType.EXT,
    }
)
_NET_ADMIN_MAPS: Final = frozenset(
    {MapType.SOCKMAP, MapType.SOCKHASH, MapType.DEVMAP, MapType.DEVMAP_HASH, MapType.XSKMAP}
)


def program_need(prog_type: ProgType) -> Need:
    """What loading a program of this type asks for."""
    if prog_type in _PLAIN:
        return Need.BPF
    return Need.BPF | (Need.PERFMON if prog_type in _PERFMON else Need.NET_ADMIN)


def map_need(map_type: MapType) -> Need:
    """What creating a map of this type asks for."""
    return Need.BPF | (Need.NET_ADMIN if map_type in _NET_ADMIN_MAPS else Need.NOTHING)


def _read(path: str) -> str:
    try:
        with open(path) as opened:
            return opened.read()
    except OSError:
        return ""


def effective_capabilities() -> int:
    """The effective set of this process as a bit mask; 0 where /proc does not tell."""
    for line in _read("/proc/self/status").splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return int(value, 16)
    return 0


def in_child_user_namespace() -> bool:
    """Whether capabilities of this process count only in a user namespace below the first."""
    return _read("/proc/self/uid_map").split() not in ([], ["0", "0", "4294967295"])


def lockdown() -> str:
    """The active mode of kernel lockdown: ``none``, ``integrity``, ``confidentiality``, or empty if not
    built in."""
    text = _read("/sys/kernel/security/lockdown")
    return text.partition("[")[2].partition("]")[0]


def lacking(need: Need) -> list[Capability]:
    """The capabilities that an operation asks for and this process does not have."""
    have = effective_capabilities()
    if have >> Capability.SYS_ADMIN & 1:
        return []
    return [cap for flag, cap in _CAPABILITIES.items() if flag in need and not have >> cap & 1]


def setcap_command(capabilities: Iterable[Capability]) -> str:
    """The command that gives the running interpreter capabilities."""
    names = ",".join(f"cap_{cap.name.lower()}" for cap in capabilities)
    return f"sudo setcap {names}+ep {os.path.realpath(sys.executable)}"


def explain_denial(need: Need) -> str:
    """One sentence: which of the things that an operation needs this process does not have."""
    missing = lacking(need)
    if missing:
        names = " and ".join(f"CAP_{cap.name}" for cap in missing)
        sysctl = _read("/proc/sys/kernel/unprivileged_bpf_disabled").strip()
        why = f" (sysctl kernel.unprivileged_bpf_disabled is {sysctl})" if sysctl not in ("", "0") else ""
        return f"this process lacks {names}{why}; run it as root or do `{setcap_command(missing)}`"
    if in_child_user_namespace():
        return "this process has capabilities only in its own user namespace, where bpf needs a BPF token"
    mode = lockdown()
    if mode not in ("", "none"):
        return f"the capabilities are there, so lockdown={mode} or another security policy refuses this"
    return (
        "the capabilities are there, so the object is frozen or read-only, or a security policy refuses this"
    )
