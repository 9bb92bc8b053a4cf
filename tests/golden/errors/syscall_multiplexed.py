# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A call that stands for many, of 32-bit processes only."""

import pyebpf as bpf
from pyebpf import u32

bpf.license("GPL")

@bpf.ksyscall("socketcall")
def program(call: u32) -> None:  # error: E1205
    pass
