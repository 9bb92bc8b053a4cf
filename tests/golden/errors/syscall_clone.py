# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""One of the last arguments of clone, whose order is not the same everywhere."""

import pyebpf as bpf
from pyebpf import u64

bpf.license("GPL")

@bpf.ksyscall("clone")
def program(flags: u64, stack: u64, parent: u64, fourth: u64) -> None:  # error: E1204
    pass
