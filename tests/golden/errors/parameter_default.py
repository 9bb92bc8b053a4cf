# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A default of a program's parameter, which would never be used."""

import pyebpf as bpf
from pyebpf import u64

bpf.license("GPL")

@bpf.kprobe("vfs_read")
def program(file: u64, buf: u64 = 0) -> None:  # error: E0905
    pass
