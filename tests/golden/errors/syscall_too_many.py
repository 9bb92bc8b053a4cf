# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""More arguments than a system call has."""

import pyebpf as bpf
from pyebpf import u64

bpf.license("GPL")

@bpf.ksyscall("openat")
def program(dfd: int, filename: bpf.User[bytes], flags: int, mode: int) -> None:  # error: E1204
    pass
