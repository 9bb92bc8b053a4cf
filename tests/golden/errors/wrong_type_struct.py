# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A struct where a number is wanted."""

import pyebpf as bpf
from pyebpf import u32


@bpf.struct
class Pair:
    left: u32
    right: u32


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    pair = Pair(left=1)
    return pair  # error: E0301
