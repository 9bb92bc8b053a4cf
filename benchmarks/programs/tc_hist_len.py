"""tc: a histogram of packet lengths with a slot for each power of two."""

from __future__ import annotations

import pyebpf as bpf
from pyebpf import u32, u64

bpf.license("GPL")

SLOTS = 32

hist = bpf.PerCpuArray[u32, u64](max_entries=SLOTS)


@bpf.tc
def tc_hist_len(skb: bpf.SkBuff) -> int:
    """Count, and let everything through. Lengths have 32 bits, so there is a slot for each."""
    hist[bpf.log2(len(skb))] += 1
    return bpf.TC_ACT_OK
