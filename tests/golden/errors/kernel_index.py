# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""An index outside of an array of the kernel's."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64
from pyebpf.kernel import task_struct

bpf.license("GPL")

@bpf.tp_btf("sched_switch")
def program(preempt: bool, prev: task_struct) -> None:
    print(f"{prev.counts[8]}")  # error: E0501
