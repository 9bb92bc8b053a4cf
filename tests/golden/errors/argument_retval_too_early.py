# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Nothing is returned when a function is entered."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.fentry("vfs_read")
def program(file, retval: i64) -> None:  # error: E1204
    pass
