# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""How much to read is not said."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.ksyscall("write")
def program(fd: u32, buf: bpf.User[bytes]) -> None:
    print(f"{bpf.str_from_user(buf)}")  # error: E0506
