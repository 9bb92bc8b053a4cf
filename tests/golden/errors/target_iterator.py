# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""An iterator that the kernel does not have."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.iter("tasks")
def program(meta, task) -> None:  # error: E1205
    pass
