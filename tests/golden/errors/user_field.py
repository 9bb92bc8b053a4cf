# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A field that the user's struct does not have."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.struct
class Pair:
    one: u32
    two: u32

@bpf.ksyscall("write")
def program(fd: u32, buf: bpf.User[Pair]) -> None:
    print(f"{buf.three}")  # error: E0502
