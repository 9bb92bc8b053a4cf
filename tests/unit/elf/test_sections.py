"""Section names and what they say about programs."""

from __future__ import annotations

import pytest

from pyebpf.uapi.constants import AttachType, ProgLoadFlag, ProgType
from pyebpf.uapi.sections import SECTIONS, section_kind, section_target


@pytest.mark.parametrize(
    ("section", "prog_type", "attach_type", "flags", "target"),
    [
        ("xdp", ProgType.XDP, AttachType.XDP, 0, ""),
        ("xdp/devmap", ProgType.XDP, AttachType.XDP_DEVMAP, 0, ""),
        ("xdp.frags/cpumap", ProgType.XDP, AttachType.XDP_CPUMAP, ProgLoadFlag.XDP_HAS_FRAGS, ""),
        ("socket", ProgType.SOCKET_FILTER, None, 0, ""),
        ("classifier", ProgType.SCHED_CLS, None, 0, ""),
        ("tc", ProgType.SCHED_CLS, None, 0, ""),
        ("tcx/egress", ProgType.SCHED_CLS, AttachType.TCX_EGRESS, 0, ""),
        ("kprobe", ProgType.KPROBE, None, 0, ""),
        ("kprobe/vfs_read+4", ProgType.KPROBE, None, 0, "vfs_read+4"),
        ("ksyscall/write", ProgType.KPROBE, None, 0, "write"),
        ("kprobe.multi/vfs_*", ProgType.KPROBE, AttachType.TRACE_KPROBE_MULTI, 0, "vfs_*"),
        ("uprobe.s//bin/sh:main", ProgType.KPROBE, None, ProgLoadFlag.SLEEPABLE, "/bin/sh:main"),
        ("uprobe.multi.s/a:b", ProgType.KPROBE, AttachType.TRACE_UPROBE_MULTI, ProgLoadFlag.SLEEPABLE, "a:b"),
        ("tp/sched/sched_switch", ProgType.TRACEPOINT, None, 0, "sched/sched_switch"),
        ("raw_tp.w/x", ProgType.RAW_TRACEPOINT_WRITABLE, None, 0, "x"),
        ("tp_btf/sys_enter", ProgType.TRACING, AttachType.TRACE_RAW_TP, 0, "sys_enter"),
        ("fexit.s/f", ProgType.TRACING, AttachType.TRACE_FEXIT, ProgLoadFlag.SLEEPABLE, "f"),
        ("lsm_cgroup/h", ProgType.LSM, AttachType.LSM_CGROUP, 0, "h"),
        ("iter/task", ProgType.TRACING, AttachType.TRACE_ITER, 0, "task"),
        ("syscall", ProgType.SYSCALL, None, ProgLoadFlag.SLEEPABLE, ""),
        ("struct_ops.s/x", ProgType.STRUCT_OPS, None, ProgLoadFlag.SLEEPABLE, "x"),
        ("sk_skb/stream_verdict", ProgType.SK_SKB, AttachType.SK_SKB_STREAM_VERDICT, 0, ""),
        ("cgroup_skb/ingress", ProgType.CGROUP_SKB, AttachType.CGROUP_INET_INGRESS, 0, ""),
        ("cgroup/skb", ProgType.CGROUP_SKB, None, 0, ""),
        ("cgroup/connect6", ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET6_CONNECT, 0, ""),
        ("sk_reuseport/migrate", ProgType.SK_REUSEPORT, AttachType.SK_REUSEPORT_SELECT_OR_MIGRATE, 0, ""),
    ],
)
def test_known(
    section: str, prog_type: ProgType, attach_type: AttachType | None, flags: int, target: str
) -> None:
    row = section_kind(section)
    assert row is not None
    assert (row.prog_type, row.attach_type, row.flags) == (prog_type, attach_type, flags)
    assert section_target(section) == target


@pytest.mark.parametrize(
    "section", ["xdp/foo", "classifier/x", "socket1", "kprobes/x", "", "/x", "cgroup", "?xdp"]
)
def test_unknown(section: str) -> None:
    assert section_kind(section) is None
    assert section_target(section) == ""


def test_the_table_has_no_name_twice() -> None:
    names = [row.name for row in SECTIONS]
    assert len(names) == len(set(names))


def test_targets_of_the_kernel_are_targets() -> None:
    assert all(row.target for row in SECTIONS if row.needs_btf_id)
