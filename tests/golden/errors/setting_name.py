# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Not the name of a configuration option."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.kprobe("vfs_read")
def program() -> None:
    print(f"{bpf.kconfig('HZ')}")  # error: E1208
