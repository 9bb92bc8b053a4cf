"""Names for one of two objects, compiled with all checks: the verifier follows every choice of names in every round."""

from __future__ import annotations

import pyebpf as bpf
from pyebpf import u8, u64


@bpf.struct
class Counters:
    """Two numbers."""

    first: u64
    second: u64


@bpf.xdp
def too_many_states(ctx: bpf.Xdp) -> int:
    """Choose between two objects by bits of the packet."""
    a = Counters(first=1, second=0)
    b = Counters(first=2, second=0)
    p = a
    q = a
    r = a
    s = a
    for i in range(60):
        x = ctx.read(u8, i)  # error: E1126
        if x & 1:
            p = b
        if x & 2:
            q = b
        if x & 4:
            r = b
        if x & 8:
            s = b
        if x & 16:
            p = a
        if x & 32:
            q = a
    return u8(p.first + q.first * 2 + r.first * 4 + s.first * 8)
