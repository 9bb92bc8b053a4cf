# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""More arguments than the target has."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64
from pyebpf.kernel import sock

bpf.license("GPL")

@bpf.fentry("tcp_connect")
def program(sk: sock, flags: int) -> None:  # error: E1204
    pass
