"""A small state machine over many bytes, compiled with all checks: the verifier follows every state in every round."""

from __future__ import annotations

import pyebpf as bpf
from pyebpf import u8


@bpf.xdp
def too_many_states(ctx: bpf.Xdp) -> int:
    """Drop what holds the three letters."""
    state = 0
    for i in range(4000):  # error: E1126
        byte = ctx.read(u8, i & 63)
        match state:
            case 0:
                state = 1 if byte == 71 else 0
            case 1:
                state = 2 if byte == 69 else 0
            case 2:
                state = 3 if byte == 84 else 0
        if state == 3:
            return bpf.XDP_DROP
    return bpf.XDP_PASS
