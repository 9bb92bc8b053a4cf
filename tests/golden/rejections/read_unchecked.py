"""A byte of the packet, compiled without the test of the packet's length."""

from __future__ import annotations

import pyebpf as bpf
from pyebpf import u8


@bpf.xdp
def read_unchecked(ctx: bpf.Xdp) -> int:
    """The byte at 20."""
    first = ctx.read(u8, 20)  # error: E1103
    return first + 1
