"""The value of a key that may be missing, compiled without the test."""

from __future__ import annotations

import pyebpf as bpf
from pyebpf import u32, u64

counts = bpf.HashMap[u32, u64](max_entries=16)


@bpf.socket_filter
def key_unchecked(skb: bpf.SkBuff) -> int:
    """How often there was a packet of this length."""
    seen = counts[skb.len]  # error: E1101
    return seen + 1
