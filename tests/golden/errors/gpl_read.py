# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Memory of the kernel and of processes is read for GPL-compatible programs only."""

import pyebpf as bpf
from pyebpf import u32, u64
from pyebpf.kernel import task_struct

bpf.license("MIT")
seen = bpf.ArrayMap[u32, u64](max_entries=4)

@bpf.inline
def length(text: u64) -> u64:
    return len(bpf.str_from_user(text, 16))  # error: E0804

@bpf.tp_btf("sched_switch")
def program(preempt: bool, prev: task_struct) -> None:
    seen[0] = u64(prev)  # error: E0804
    seen[1] = prev.pid
    seen[2] = length(7)
