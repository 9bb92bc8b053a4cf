# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""fentry programs return 0."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.fentry("vfs_read")
def program(file) -> int:
    return 1  # error: E1206
