"""An offset from the packet, compiled without the test of the packet's length."""

from __future__ import annotations

import pyebpf as bpf
from pyebpf import u8, u16

bpf.license("GPL")


@bpf.tc_ingress
def offset_unchecked(skb: bpf.SkBuff) -> int:
    """The port behind a header of variable length."""
    words = skb.load(u8, 14) & 15
    port = skb.read(u16, 14 + words * 4)  # error: E1103
    return port & 1
