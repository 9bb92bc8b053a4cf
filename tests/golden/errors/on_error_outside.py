# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""The verdict for errors is one that the kernel does not take from this kind of program."""

import pyebpf as bpf
from pyebpf import u32, u64

bpf.license("GPL")
counts = bpf.HashMap[u32, u64](max_entries=4)


@bpf.iter("task", on_error=5)
def program() -> int:  # error: E1206
    counts[1] = counts[2]
    return 0
