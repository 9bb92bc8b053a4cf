"""The helper rows: completeness, consistency with the C signatures, and facts known by heart."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pyebpf.uapi.constants import AttachType, MapType, ProgType
from pyebpf.uapi.helpers import (
    READ,
    SIZES,
    WRITTEN,
    ArgKind,
    ConditionKind,
    Helper,
    PacketEffect,
    ReturnKind,
    helper_by_id,
    helper_by_name,
    helper_names,
)


def row(name: str) -> Helper:
    helper = helper_by_name(name)
    assert helper is not None, name
    return helper


HELPERS = [row(name) for name in helper_names()]


def test_there_are_211() -> None:
    assert [helper.id for helper in HELPERS] == list(range(1, 212))
    assert all(helper_by_id(helper.id) is helper for helper in HELPERS)
    assert helper_by_name("unspec") is None and helper_by_name("bpf_loop") is None
    assert helper_by_id(0) is None and helper_by_id(212) is None


@pytest.mark.parametrize("helper", HELPERS, ids=lambda helper: helper.name)
def test_rows_are_consistent(helper: Helper) -> None:
    declared = [piece for piece in helper.c_args.split(", ") if piece and piece != "..."]
    assert helper.prototypes and helper.availability
    # The kernel's prototype of get_branch_snapshot leaves its last parameter, unused flags, unchecked.
    widest = max(len(prototype.args) for prototype in helper.prototypes)
    assert widest == len(declared) - (helper.name == "get_branch_snapshot")
    used = {group.prototype for group in helper.availability}
    assert used == set(helper.prototypes)
    for prototype in helper.prototypes:
        args = prototype.args
        assert len(args) <= 5
        for before, arg in zip([None, *args], args, strict=False):
            pointer = arg.c_type.endswith("*")
            if arg.kind in SIZES:
                assert before is not None and before.kind in (
                    ArgKind.MEM,
                    ArgKind.UNINIT_MEM,
                    ArgKind.RDWR_MEM,
                )
                assert before.size is None and not pointer
            elif arg.kind not in (ArgKind.SCALAR, ArgKind.ALLOC_SIZE, ArgKind.BTF_ID_SOCK_COMMON):
                assert pointer, arg
            assert (arg.size is None) or arg.kind in READ | WRITTEN
        unsized = [
            a
            for a in args
            if a.kind in (ArgKind.MEM, ArgKind.UNINIT_MEM, ArgKind.RDWR_MEM) and a.size is None
        ]
        assert len(unsized) == sum(a.kind in SIZES for a in args)
        result = prototype.returns
        if result.kind not in (ReturnKind.INTEGER, ReturnKind.VOID):
            # task_pt_regs was declared before its result had a type.
            assert (result.c_type.endswith("*") or helper.name == "task_pt_regs") and result.bits == 64
        assert not result.acquires or result.nullable
        assert any(a.kind is ArgKind.MAP for a in args) == bool(helper.map_types)
    for group in helper.availability:
        assert group.since >= helper.since and group.program_types
        for condition in group.conditions:
            assert condition.program_types == group.program_types
            assert bool(condition.attach_types) == (condition.kind is ConditionKind.ATTACH_TYPE)
    assert ProgType.UNSPEC not in helper.program_types and ProgType.EXT not in helper.program_types


def test_integer_results_have_the_width_of_their_c_type() -> None:
    assert (row("get_prandom_u32").returns.bits, row("get_prandom_u32").returns.signed) == (32, False)
    assert (row("ktime_get_ns").returns.bits, row("ktime_get_ns").returns.signed) == (64, False)
    assert (row("map_update_elem").returns.bits, row("map_update_elem").returns.signed) == (64, True)
    widths = {helper.c_returns for helper in HELPERS if helper.returns.kind is ReturnKind.INTEGER}
    assert widths == {"long", "int", "s64", "u32", "u64"}


@pytest.mark.parametrize(
    ("name", "since"),
    [
        ("map_lookup_elem", (3, 19)),
        ("ktime_get_ns", (4, 1)),
        ("get_prandom_u32", (4, 1)),
        ("tail_call", (4, 2)),
        ("redirect", (4, 4)),
        ("xdp_adjust_head", (4, 10)),
        ("fib_lookup", (4, 18)),
        ("map_push_elem", (4, 20)),
        ("spin_lock", (5, 1)),
        ("probe_read_kernel", (5, 5)),
        ("jiffies64", (5, 6)),
        ("ringbuf_reserve", (5, 8)),
        ("copy_from_user", (5, 10)),
        ("for_each_map_elem", (5, 13)),
        ("timer_init", (5, 15)),
        ("loop", (5, 17)),
        ("strncmp", (5, 17)),
        ("xdp_load_bytes", (5, 18)),
        ("dynptr_read", (5, 19)),
        ("ktime_get_tai_ns", (6, 1)),
        ("cgrp_storage_get", (6, 2)),
    ],
)
def test_first_kernels(name: str, since: tuple[int, int]) -> None:
    assert row(name).since == since


def test_signatures_are_those_of_the_header() -> None:
    assert row("map_update_elem").c_signature == (
        "long bpf_map_update_elem(struct bpf_map *map, const void *key, const void *value, u64 flags)"
    )
    assert row("jiffies64").c_signature == "u64 bpf_jiffies64(void)"
    assert (
        row("map_lookup_elem").c_signature
        == "void *bpf_map_lookup_elem(struct bpf_map *map, const void *key)"
    )
    assert row("trace_printk").variadic and not row("loop").variadic


def test_demands() -> None:
    kinds = [arg.kind for arg in row("skb_load_bytes").args]
    assert kinds == [ArgKind.CTX, ArgKind.SCALAR, ArgKind.UNINIT_MEM, ArgKind.CONST_SIZE]
    kinds = [arg.kind for arg in row("loop").args]
    assert kinds == [ArgKind.SCALAR, ArgKind.FUNC, ArgKind.STACK, ArgKind.SCALAR]
    assert row("loop").args[2].nullable
    strtol = row("strtol").args[3]
    assert (strtol.kind, strtol.size, strtol.c_type) == (ArgKind.UNINIT_MEM, 8, "long *")
    assert [a.kind for a in row("fib_lookup").args][1] is ArgKind.RDWR_MEM
    assert row("send_signal").gpl_only is False and row("trace_printk").gpl_only is True
    lookup = row("map_lookup_elem").returns
    assert lookup.kind is ReturnKind.MAP_VALUE and lookup.nullable and not lookup.acquires
    reserve = row("ringbuf_reserve").returns
    assert reserve.kind is ReturnKind.RINGBUF_MEM and reserve.nullable and reserve.acquires
    assert row("ringbuf_submit").args[0].releases and row("sk_release").args[0].releases
    task = row("get_current_task_btf").returns
    assert task.kind is ReturnKind.BTF_ID and task.btf_type == "task_struct" and not task.nullable
    assert row("copy_from_user").may_sleep and not row("probe_read_user").may_sleep
    assert row("map_lookup_elem").prototypes[0].packet_access


def test_prototypes_that_differ_by_program_type() -> None:
    classid = row("get_cgroup_classid")
    assert classid.prototype(ProgType.XDP).args == ()
    assert [a.kind for a in classid.prototype(ProgType.SCHED_CLS).args] == [ArgKind.CTX]
    assign = row("sk_assign")
    assert assign.prototype(ProgType.SCHED_CLS).args[1].kind is ArgKind.BTF_ID_SOCK_COMMON
    assert assign.prototype(ProgType.SK_LOOKUP).args[1].kind is ArgKind.SOCKET
    func_ip = row("get_func_ip")
    assert func_ip.prototype(ProgType.KPROBE, AttachType.PERF_EVENT).gpl_only
    assert not func_ip.prototype(ProgType.KPROBE, AttachType.TRACE_KPROBE_MULTI).gpl_only
    with pytest.raises(LookupError, match="bpf_xdp_adjust_head is not for programs of type SCHED_CLS"):
        row("xdp_adjust_head").prototype(ProgType.SCHED_CLS)


def test_releases_by_program_type() -> None:
    coarse = row("ktime_get_coarse_ns")
    assert coarse.since == (5, 11) and coarse.since_in(ProgType.XDP) is not None
    assert row("map_lookup_elem").since_in(ProgType.NETFILTER) == (6, 4)
    assert row("skb_change_head").since_in(ProgType.SCHED_CLS) == (5, 4)
    assert row("skb_change_head").since_in(ProgType.LWT_XMIT) == (4, 10)
    assert row("xdp_adjust_head").since_in(ProgType.SOCKET_FILTER) is None


def test_conditions() -> None:
    def of(
        name: str, prog_type: ProgType, attach_type: AttachType | None = None
    ) -> set[tuple[ConditionKind, str]]:
        terms = row(name).available(prog_type, attach_type)
        assert terms is not None
        return {(condition.kind, condition.value) for condition in terms.conditions}

    assert (ConditionKind.CONFIG, "CONFIG_XFRM") in of("skb_get_xfrm_state", ProgType.SCHED_CLS)
    assert (ConditionKind.CONFIG, "CONFIG_BPF_KPROBE_OVERRIDE") in of("override_return", ProgType.KPROBE)
    assert (ConditionKind.LOCKDOWN, "LOCKDOWN_BPF_WRITE_USER") in of("probe_write_user", ProgType.TRACEPOINT)
    assert (ConditionKind.CAPABILITY, "CAP_PERFMON") in of("trace_printk", ProgType.XDP)
    assert of("map_lookup_elem", ProgType.XDP) == set()
    bind = row("bind")
    assert bind.available(ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET4_CONNECT) is not None
    assert bind.available(ProgType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET4_BIND) is None


def test_packet_effects() -> None:
    effects = {helper.name: helper.packet_effect for helper in HELPERS if helper.changes_packet}
    assert len(effects) == 23
    assert (
        effects["xdp_adjust_head"] is PacketEffect.SHIFTS and effects["skb_vlan_push"] is PacketEffect.SHIFTS
    )
    assert effects["skb_pull_data"] is PacketEffect.KEEPS_OFFSETS
    assert effects["xdp_adjust_tail"] is PacketEffect.KEEPS_OFFSETS
    assert "skb_load_bytes" not in effects


def test_map_types() -> None:
    assert row("tail_call").map_types == {MapType.PROG_ARRAY}
    assert row("sk_redirect_map").map_types == {MapType.SOCKMAP}
    assert MapType.RINGBUF not in row("map_lookup_elem").map_types
    assert MapType.LPM_TRIE in row("map_lookup_elem").map_types
    assert row("map_pop_elem").map_types == {MapType.QUEUE, MapType.STACK}
    assert row("ktime_get_ns").map_types == frozenset()


def test_importing_is_cheap() -> None:
    """Rows are built when asked for: importing the module (5 ms) costs like making an enum of 300 members."""
    code = (
        "import enum, time\n"
        "import pyebpf.uapi.constants, pyebpf.uapi.releases\n"
        "start = time.perf_counter()\n"
        "enum.IntEnum('Numbers', [f'N{i}' for i in range(300)])\n"
        "middle = time.perf_counter()\n"
        "import pyebpf.uapi.helpers\n"
        "print((time.perf_counter() - middle) / (middle - start))"
    )
    run = [sys.executable, "-c", code]
    ratios = [float(subprocess.run(run, capture_output=True, text=True, check=True).stdout) for _ in range(3)]
    assert min(ratios) < 6, ratios
