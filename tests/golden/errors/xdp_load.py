# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""`load` where there is no such helper."""

import pyebpf as bpf
from pyebpf import u8


@bpf.xdp
def program(ctx: bpf.Xdp) -> int:
    return ctx.load(u8, 0)  # error: E0703
