# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A field that the event does not have."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.tracepoint("sched/sched_switch")
def program(ctx: bpf.Tracepoint) -> None:
    print(f"{ctx.prev_pidd}")  # error: E0701
