# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""The change is inside a function."""

import pyebpf as bpf
from pyebpf import be16


@bpf.struct
class Ethernet:
    protocol: be16


def pop(ctx):
    return ctx.adjust_head(4)


@bpf.xdp
def program(ctx: bpf.Xdp) -> int:
    ethernet = ctx.read(Ethernet, 12)
    pop(ctx)
    return ethernet.protocol  # error: E0704
