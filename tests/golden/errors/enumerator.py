# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""An enumerator that the kernel's enum does not have."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64
from pyebpf.kernel import map_kind

bpf.license("GPL")

@bpf.kprobe("vfs_read")
def program() -> None:
    print(f"{bpf.enum_value(map_kind, 'KIND_HASHED')}")  # error: E1203
