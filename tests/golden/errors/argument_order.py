# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Arguments go by their order, not by their names."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.fentry("vfs_read")
def program(count: u64) -> None:  # error: E1204
    print(f"{count}")
