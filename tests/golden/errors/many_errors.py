# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""All errors of a function come in one go, and none because of another."""

import pyebpf as bpf
from pyebpf import u32, u64

packets = bpf.HashMap[u32, u64](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    a = undefined  # error: E0201
    b = a + 1
    c = skb.nothing  # error: E0701
    if b > c:
        packets[b] = 1 << skb.len  # error: E0304
    return packets.get(1) + 1  # error: E0311
