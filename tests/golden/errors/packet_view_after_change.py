# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A view of the packet after the packet was changed."""

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
    if ctx.adjust_head(14) < 0:
        return bpf.XDP_DROP
    return ethernet.protocol  # error: E0704
