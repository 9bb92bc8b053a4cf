"""The smallest program: every packet passes."""

from __future__ import annotations

import pyebpf as bpf

bpf.license("GPL")


@bpf.xdp
def xdp_minimal(ctx: bpf.Xdp) -> int:
    """Pass."""
    return bpf.XDP_PASS
