# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""An event that the kernel does not have."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.tracepoint("sched", "sched_swich")
def program(ctx: bpf.Tracepoint) -> None:  # error: E1205
    pass
