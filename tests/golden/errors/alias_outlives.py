# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A name for what an earlier iteration built."""

import pyebpf as bpf
from pyebpf import u32


@bpf.struct
class Item:
    number: u32


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    best = Item(number=0)
    for i in range(4):
        item = Item(number=i)
        if i == 2:
            best = item
    return best.number  # error: E0503
