# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""An offset outside of every packet."""

import pyebpf as bpf
from pyebpf import u8


@bpf.xdp
def program(ctx: bpf.Xdp) -> int:
    return ctx.read(u8, 70_000)  # error: E0706
