"""The value of a missing key in a function of its own, compiled without the test."""

from __future__ import annotations

import pyebpf as bpf
from pyebpf import u32, u64

counts = bpf.HashMap[u32, u64](max_entries=16)


@bpf.noinline
def seen_before(length: u32) -> int:
    """How often."""
    return counts[length]  # error: E1101


@bpf.socket_filter
def in_function(skb: bpf.SkBuff) -> int:
    """Asks twice."""
    return seen_before(skb.len) + seen_before(skb.mark)
