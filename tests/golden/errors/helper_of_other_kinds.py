# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A helper that this kind may not call."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64
from pyebpf.kernel import file

bpf.license("GPL")

@bpf.kprobe("vfs_read")
def program(opened: file) -> None:
    bpf.d_path(opened.f_path, bpf.chars(64), 64)  # error: E0802
