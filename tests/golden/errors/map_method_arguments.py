# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A method without its argument."""

import pyebpf as bpf
from pyebpf import u32, u64

packets = bpf.HashMap[u32, u64](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    packets.update(1)  # error: E0605
    return 0
