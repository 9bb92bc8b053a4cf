# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A look-up whose result may be None."""

import pyebpf as bpf
from pyebpf import u32, u64

packets = bpf.HashMap[u32, u64](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    found = packets.get(1)
    return found + 1  # error: E0311
