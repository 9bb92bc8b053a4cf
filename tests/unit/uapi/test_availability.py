"""Which programs may call which helpers: the table against one observed kernel and against the running one.

The table says what the rule is; a kernel may allow less, because an option is off, because it is locked down
or because the probe had the wrong attach type. So: whatever a kernel allows, the table must allow, and
whatever the table allows beyond that must be explained by a condition of its row.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from pyebpf.uapi import releases
from pyebpf.uapi.constants import AttachType, ProgLoadFlag, ProgType
from pyebpf.uapi.helpers import Availability, ConditionKind, helper_by_name, helper_names

Load = Callable[..., str | None]
Release = tuple[int, int]

OBSERVED: Release = (6, 18)
COLUMNS = {
    "socket": (ProgType.SOCKET_FILTER, None),
    "kprobe": (ProgType.KPROBE, AttachType.PERF_EVENT),
    "tc": (ProgType.SCHED_CLS, None),
    "act": (ProgType.SCHED_ACT, None),
    "tp": (ProgType.TRACEPOINT, None),
    "xdp": (ProgType.XDP, None),
    "perf": (ProgType.PERF_EVENT, None),
    "cg_skb": (ProgType.CGROUP_SKB, AttachType.CGROUP_INET_INGRESS),
    "cg_sock": (ProgType.CGROUP_SOCK, AttachType.CGROUP_INET_SOCK_CREATE),
    "cg_addr": (ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET4_CONNECT),
    "cg_dev": (ProgType.CGROUP_DEVICE, AttachType.CGROUP_DEVICE),
    "cg_sysctl": (ProgType.CGROUP_SYSCTL, AttachType.CGROUP_SYSCTL),
    "cg_sockopt": (ProgType.CGROUP_SOCKOPT, AttachType.CGROUP_GETSOCKOPT),
    "lwt_in": (ProgType.LWT_IN, None),
    "sock_ops": (ProgType.SOCK_OPS, AttachType.CGROUP_SOCK_OPS),
    "sk_skb": (ProgType.SK_SKB, None),
    "sk_msg": (ProgType.SK_MSG, None),
    "raw_tp": (ProgType.RAW_TRACEPOINT, None),
    "reuseport": (ProgType.SK_REUSEPORT, None),
    "flow": (ProgType.FLOW_DISSECTOR, None),
    "tp_btf": (ProgType.TRACING, AttachType.TRACE_RAW_TP),
    "iter": (ProgType.TRACING, AttachType.TRACE_ITER),
    "struct_ops": (ProgType.STRUCT_OPS, None),
    "sk_lookup": (ProgType.SK_LOOKUP, AttachType.SK_LOOKUP),
    "syscall": (ProgType.SYSCALL, None),
    "netfilter": (ProgType.NETFILTER, AttachType.NETFILTER),
}

# A bare call tells whether the kernel finds the helper. These it finds, and then the verifier refuses every
# use: the map that holds the lock or the timer, or the call itself.
TRACING_TYPES = {
    ProgType.KPROBE,
    ProgType.TRACEPOINT,
    ProgType.PERF_EVENT,
    ProgType.RAW_TRACEPOINT,
    ProgType.RAW_TRACEPOINT_WRITABLE,
}
FOUND_BUT_UNUSABLE = {
    **dict.fromkeys(("spin_lock", "spin_unlock"), TRACING_TYPES | {ProgType.SOCKET_FILTER}),
    **dict.fromkeys(("timer_init", "timer_set_callback", "timer_start", "timer_cancel"), TRACING_TYPES),
    "get_func_ip": (TRACING_TYPES - {ProgType.KPROBE}) | {ProgType.TRACING, ProgType.SYSCALL},
}

# What kernels after 6.18 took away: the table holds what every kernel from a release on allows.
TAKEN_AWAY = {("skb_pull_data", ProgType.LWT_SEG6LOCAL)}

# Options that the observed kernel lacks (its /proc/config.gz), and the lockdown that was in force.
MISSING_OPTIONS = {"CONFIG_BPF_KPROBE_OVERRIDE"}
LOCKED_DOWN = {"LOCKDOWN_BPF_WRITE_USER"}


def observed() -> list[tuple[str, str, bool]]:
    """(helper, column, allowed) of the observed kernel."""
    lines = (Path(__file__).parent / "observed_6.18.tsv").read_text().splitlines()
    header, *rows = (line.split("\t") for line in lines if not line.startswith("#"))
    return [
        (row[0], column, mark == "x")
        for row in rows
        for column, mark in zip(header[1:], row[1:], strict=True)
    ]


def explained(terms: Availability) -> bool:
    """Whether a condition explains that the observed kernel refused."""
    for condition in terms.conditions:
        if condition.kind is ConditionKind.CONFIG and condition.value in MISSING_OPTIONS:
            return True
        if condition.kind is ConditionKind.LOCKDOWN and condition.value in LOCKED_DOWN:
            return True
        if condition.kind is ConditionKind.ATTACH_TARGET:
            return True
    return False


def test_observed_table_is_complete() -> None:
    rows = observed()
    assert {name for name, _, _ in rows} == set(helper_names())
    assert {column for _, column, _ in rows} == set(COLUMNS)


def test_the_table_allows_what_the_observed_kernel_allows() -> None:
    refused = []
    for name, column, allowed in observed():
        prog_type, attach_type = COLUMNS[column]
        helper = helper_by_name(name)
        assert helper is not None
        since = helper.since_in(prog_type, attach_type)
        usable = prog_type not in FOUND_BUT_UNUSABLE.get(name, ())
        if allowed and usable and (since is None or since > OBSERVED):
            refused.append((name, column, since))
    assert not refused


def test_what_the_observed_kernel_refuses_is_explained() -> None:
    unexplained = []
    for name, column, allowed in observed():
        prog_type, attach_type = COLUMNS[column]
        helper = helper_by_name(name)
        assert helper is not None
        terms = helper.available(prog_type, attach_type)
        if not allowed and terms is not None and terms.since <= OBSERVED and not explained(terms):
            unexplained.append((name, column, terms.conditions))
    assert not unexplained


def test_unusable_helpers_are_not_in_the_table() -> None:
    for name, prog_types in FOUND_BUT_UNUSABLE.items():
        helper = helper_by_name(name)
        assert helper is not None
        for prog_type in prog_types:
            attach_type = AttachType.TRACE_RAW_TP if prog_type is ProgType.TRACING else None
            assert helper.available(prog_type, attach_type) is None


LIVE = [
    (ProgType.SOCKET_FILTER, None),
    (ProgType.KPROBE, None),
    (ProgType.SCHED_CLS, None),
    (ProgType.SCHED_ACT, None),
    (ProgType.TRACEPOINT, None),
    (ProgType.XDP, None),
    (ProgType.PERF_EVENT, None),
    (ProgType.CGROUP_SKB, AttachType.CGROUP_INET_EGRESS),
    (ProgType.CGROUP_SOCK, AttachType.CGROUP_INET4_POST_BIND),
    (ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET6_BIND),
    (ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET4_GETPEERNAME),
    (ProgType.CGROUP_DEVICE, AttachType.CGROUP_DEVICE),
    (ProgType.CGROUP_SYSCTL, AttachType.CGROUP_SYSCTL),
    (ProgType.CGROUP_SOCKOPT, AttachType.CGROUP_SETSOCKOPT),
    (ProgType.LWT_IN, None),
    (ProgType.LWT_OUT, None),
    (ProgType.LWT_XMIT, None),
    (ProgType.LWT_SEG6LOCAL, None),
    (ProgType.SOCK_OPS, AttachType.CGROUP_SOCK_OPS),
    (ProgType.SK_SKB, None),
    (ProgType.SK_MSG, None),
    (ProgType.RAW_TRACEPOINT, None),
    (ProgType.RAW_TRACEPOINT_WRITABLE, None),
    (ProgType.SK_REUSEPORT, None),
    (ProgType.FLOW_DISSECTOR, None),
    (ProgType.SK_LOOKUP, AttachType.SK_LOOKUP),
    (ProgType.SYSCALL, None),
    (ProgType.NETFILTER, AttachType.NETFILTER),
]


def names(prog_type: ProgType, attach_type: AttachType | None) -> str:
    """What to call a test of programs of this type."""
    return f"{prog_type.name}-{attach_type.name if attach_type else '-'}"


@pytest.mark.parametrize(
    ("prog_type", "attach_type"),
    [
        pytest.param(*pair, marks=pytest.mark.kernels(since=releases.PROG_TYPES[pair[0]]), id=names(*pair))
        for pair in LIVE
    ],
)
def test_the_running_kernel(prog_type: ProgType, attach_type: AttachType | None, load_program: Load) -> None:
    """A bare call of each helper. Configuration and lockdown may take helpers away, nothing may add any."""
    running = tuple(int(part) for part in platform.release().split(".")[:2])
    flags = ProgLoadFlag.SLEEPABLE if prog_type is ProgType.SYSCALL else 0
    plain = AttachType.PERF_EVENT if prog_type is ProgType.KPROBE else attach_type
    wrong = []
    for name in helper_names():
        helper = helper_by_name(name)
        assert helper is not None
        call = struct.pack("=BBhi", 0x85, 0, 0, helper.id) + struct.pack("=BBhi", 0x95, 0, 0, 0)
        log = load_program(prog_type, call, attach_type or 0, flags) or ""
        found = "cannot use helper" not in log and "unknown func" not in log and "invalid func" not in log
        terms = helper.available(prog_type, plain)
        allowed = terms is not None and terms.since <= running
        unusable = prog_type in FOUND_BUT_UNUSABLE.get(name, ()) or (name, prog_type) in TAKEN_AWAY
        if found and not allowed and not unusable:
            wrong.append(f"{name}: the kernel knows it for {prog_type.name}")
        if allowed and not found:
            assert terms is not None
            kinds = {condition.kind for condition in terms.conditions}
            if not kinds & {ConditionKind.CONFIG, ConditionKind.LOCKDOWN, ConditionKind.ATTACH_TARGET}:
                wrong.append(f"{name}: the kernel does not know it for {prog_type.name}: {log.strip()[-80:]}")
    assert not wrong, "\n".join(wrong)
