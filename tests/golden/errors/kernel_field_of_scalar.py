# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A field of what is no struct."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64
from pyebpf.kernel import task_struct

bpf.license("GPL")

@bpf.raw_tracepoint("sched_switch")
def program(preempt: bool, prev: task_struct) -> None:
    print(f"{prev.comm.length}")  # error: E1203
