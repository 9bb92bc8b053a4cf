# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A tracepoint that the kernel does not have."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.tp_btf("sched_swich")
def program(preempt: bool) -> None:  # error: E1205
    pass
