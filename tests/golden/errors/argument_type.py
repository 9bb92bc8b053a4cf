# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""The annotation contradicts the target's declaration."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64
from pyebpf.kernel import task_struct

bpf.license("GPL")

@bpf.fentry("tcp_connect")
def program(sk: task_struct) -> None:  # error: E1204
    pass
