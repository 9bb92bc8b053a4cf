# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A function that returns what it was given."""

import pyebpf as bpf
from pyebpf import u32


@bpf.struct
class Item:
    number: u32


def same(item):
    return item  # error: E0504


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    item = Item(number=1)
    return same(item).number
