# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""The arguments are gone when a function returns."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.kretprobe("vfs_read")
def program(file: u64, retval: i64) -> None:  # error: E1204
    pass
