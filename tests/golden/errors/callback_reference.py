# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A callback that would leave a reference to what it built."""

import pyebpf as bpf
from pyebpf import u32


@bpf.struct
class Item:
    number: u32


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    best = Item(number=0)

    def body(i):
        nonlocal best
        best = Item(number=i)  # error: E0906

    bpf.loop(4, body)
    return best.number
