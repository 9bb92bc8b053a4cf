# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A type that the kernel does not have."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64
from pyebpf.kernel import task_strukt

bpf.license("GPL")

@bpf.raw_tracepoint("sched_switch")
def program(preempt: bool, prev: task_strukt) -> None:  # error: E1202
    pass
