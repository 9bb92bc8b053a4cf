# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A function that the kernel does not have."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.fentry("vfs_raed")
def program(file) -> None:  # error: E1205
    pass
