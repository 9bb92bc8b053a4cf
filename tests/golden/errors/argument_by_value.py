# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A struct that is passed by value."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.fentry("by_value")
def program(text) -> None:  # error: E1204
    pass
