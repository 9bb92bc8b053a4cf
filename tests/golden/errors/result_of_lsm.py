# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""The kernel must see that the result is an error number."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

counts = bpf.ArrayMap[u32, i64](max_entries=1)

@bpf.lsm("file_open")
def program(file) -> int:
    return counts[0]  # error: E1206
