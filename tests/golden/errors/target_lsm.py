# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A security hook that the kernel does not have."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.lsm("file_opened")
def program(file) -> int:  # error: E1205
    return 0
