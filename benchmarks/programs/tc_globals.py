"""tc: settings and counters in global variables.

The counters are plain, as those of the C program are: ``x.value = x.value + 1``; ``+=`` would be atomic.
"""

from __future__ import annotations

import pyebpf as bpf
from pyebpf import u8, u32, u64

bpf.license("GPL")

SIZES = 16


@bpf.struct
class Sizes:
    """Packets by length, in steps of 64 bytes."""

    slots: list[int] = bpf.array(u64, SIZES)


cfg_max_len = bpf.Const[u32](9000)
cfg_drop_oversize = bpf.Const[u8](1)
sample_rate = bpf.Global[u32](16)

total_packets = bpf.Global[u64](0)
total_bytes = bpf.Global[u64](0)
sampled = bpf.Global[u64](0)
oversize = bpf.Global[u64](0)
by_size = bpf.Global[Sizes]()
last_ifindex = bpf.Global[u32](0)


@bpf.tc
def tc_globals(skb: bpf.SkBuff) -> int:
    """Count; drop what is longer than allowed."""
    length = len(skb)
    total_packets.value = total_packets.value + 1
    total_bytes.value = total_bytes.value + length
    last_ifindex.value = skb.ifindex
    slot = length // 64 % SIZES
    sizes = by_size.value.slots
    sizes[slot] = sizes[slot] + 1
    rate = sample_rate.value
    if rate and total_packets.value % rate == 0:
        sampled.value = sampled.value + 1
    if length > cfg_max_len.value:
        oversize.value = oversize.value + 1
        if cfg_drop_oversize.value:
            return bpf.TC_ACT_SHOT
    return bpf.TC_ACT_OK
