# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A function whose result may not be changed."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.fmod_ret("vfs_read")
def program(file, buf, count, retval: i32) -> int:  # error: E1205
    return retval
