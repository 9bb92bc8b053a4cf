# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""More tests than the verifier puts aside."""

import pyebpf as bpf
from pyebpf import u8


@bpf.xdp
def program(ctx: bpf.Xdp) -> int:
    total = 0
    for i in range(5_000):  # error: E0402
        if ctx.read(u8, i & 63) > 3:
            total += 1
        if i & 1:
            total += 2
    for i in range(3_900):
        if ctx.read(u8, i & 63) > 3:
            total += 1
    return total
