# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A view that is used again after a change in the same loop."""

import pyebpf as bpf
from pyebpf import be16, u8


@bpf.struct
class Ethernet:
    destination: bytes = bpf.array(u8, 6)
    source: bytes = bpf.array(u8, 6)
    protocol: be16


@bpf.xdp
def program(ctx: bpf.Xdp) -> int:
    ethernet = ctx.read(Ethernet, 0)
    for i in range(3):
        if ethernet.protocol == 8:  # error: E0704
            return bpf.XDP_PASS
        ctx.adjust_head(4)
    return bpf.XDP_DROP
