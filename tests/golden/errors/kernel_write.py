# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""The kernel's memory is not written."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64
from pyebpf.kernel import task_struct

bpf.license("GPL")

@bpf.tp_btf("sched_switch")
def program(preempt: bool, prev: task_struct) -> None:
    prev.pid = 7  # error: E1207
