# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A method that works in user space only."""

import pyebpf as bpf
from pyebpf import u32, u64

packets = bpf.HashMap[u32, u64](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    for key, value in packets.items():  # error: E0602
        return value
    return 0
