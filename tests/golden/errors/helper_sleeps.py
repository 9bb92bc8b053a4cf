# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A helper that sleeps, in a program that may not."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.lsm("file_open")
def program(file) -> int:
    bpf.copy_from_user(bpf.chars(8), 8, 4096)  # error: E0802
    return 0
