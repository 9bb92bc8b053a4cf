# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Objects beyond what scratch memory has."""

import pyebpf as bpf
from pyebpf import u64


@bpf.xdp
def program(ctx: bpf.Xdp) -> int:
    small = bpf.array(u64, 10)
    large = bpf.array(u64, 4_000)  # error: E1001
    large[3] = small[2]
    return int(large[4])
