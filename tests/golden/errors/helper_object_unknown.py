# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A helper wants an object that the verifier knows."""

import pyebpf as bpf
from pyebpf import i32, i64, u8, u32, u64
from pyebpf.kernel import file, path

bpf.license("GPL")

@bpf.fexit("security_file_open")
def program(opened: file) -> None:
    where = bpf.cast(path, 4096)
    bpf.d_path(where, bpf.chars(64), 64)  # error: E0806
