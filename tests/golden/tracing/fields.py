"""Fields of the kernel's structs: loaded where the verifier tracks the pointer, else read by a helper."""

import pyebpf as bpf
from pyebpf import u32, u64
from pyebpf.kernel import map_kind, task_struct

bpf.license("GPL")
seen = bpf.ArrayMap[u32, u64](max_entries=8)


@bpf.struct
class Name:
    comm: bytes = bpf.chars(16)


names = bpf.HashMap[Name, u64](max_entries=8, default=0)


@bpf.tp_btf("sched_switch")
def tracked(preempt: bool, prev: task_struct, next: task_struct) -> None:
    seen[0] = prev.mm.owner.tgid
    seen[1] = prev.se.on_rq
    if prev.real_parent is None or next == prev:
        seen[2] = prev.mm.pages[2]


@bpf.raw_tracepoint("sched_switch")
def probed(preempt: bool, prev: task_struct) -> None:
    seen[0] = prev.mm.owner.tgid
    names[Name(comm=prev.comm)] += 1


@bpf.raw_tracepoint("sched_switch")
def parts(preempt: bool, prev: task_struct, next: task_struct) -> None:
    seen[0] = prev.reset
    if prev.level < 0:
        seen[1] = prev.counts[u32(next.pid) & 7]


@bpf.raw_tracepoint("sched_switch")
def facts(preempt: bool, prev: task_struct) -> None:
    if bpf.field_exists(task_struct, "mm.owner"):
        seen[0] = bpf.type_size(task_struct)
    seen[1] = bpf.enum_value(map_kind, "KIND_ARRAY")
    seen[2] = bpf.container_of(prev.mm, task_struct, "se").tgid
    if bpf.kernel_version() >= bpf.kernel_version(6, 4) and bpf.kconfig("CONFIG_BPF", bool):
        seen[3] = bpf.kconfig("CONFIG_HZ")


@bpf.raw_tracepoint("sched_switch")
def checked(preempt: bool, prev: task_struct) -> None:
    try:
        seen[0] = bpf.checked(prev.mm.owner.tgid)
    except OSError:
        seen[1] += 1
