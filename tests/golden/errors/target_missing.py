# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A kind that has to name its target."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.fentry
def program(file) -> None:  # error: E1205
    pass
