# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Arguments of a system call in another order."""

import pyebpf as bpf
from pyebpf import u64

bpf.license("GPL")

@bpf.ksyscall("openat")
def program(filename: bpf.User[bytes], dfd: int) -> None:  # error: E1204
    pass
