# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A view that is kept while the packet is changed."""

import pyebpf as bpf
from pyebpf import be16


@bpf.struct
class Ethernet:
    protocol: be16


@bpf.xdp
def program(ctx: bpf.Xdp) -> int:
    ethernet, result = ctx.read(Ethernet, 12), ctx.adjust_head(4)  # error: E0704
    return ethernet.protocol + result
