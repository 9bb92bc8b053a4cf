"""Two loops that can be verified alone, but not together."""

import pyebpf as bpf
from pyebpf import u8


@bpf.xdp
def twice(ctx: bpf.Xdp) -> int:
    """Add up bytes twice."""
    total = 0
    for i in range(4_100):  # error: E0402
        total += ctx.read(u8, i & 31)
    for i in range(4_000):
        total += ctx.read(u8, i & 15)
    return total & 1
