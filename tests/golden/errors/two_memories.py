# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A variable that refers into the packet and to a struct of its own."""

import pyebpf as bpf
from pyebpf import u32


@bpf.struct
class Header:
    kind: u32


@bpf.xdp
def program(ctx: bpf.Xdp) -> int:
    header = ctx.read(Header, 0)
    if header.kind == 4:
        header = Header(kind=1)  # error: E0510
    return header.kind
