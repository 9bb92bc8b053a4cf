# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A kind of program that the target does not know."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.kprobe_session("vfs_*")
def program() -> int:  # error: E0803
    return 0
