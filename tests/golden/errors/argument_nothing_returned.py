# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""The target returns nothing."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64

bpf.license("GPL")

@bpf.fexit("do_exit")
def program(code: i64, retval: i64) -> None:  # error: E1204
    pass
