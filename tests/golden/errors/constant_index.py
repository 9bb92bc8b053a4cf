# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A constant index outside of an array."""

import pyebpf as bpf
from pyebpf import u32


@bpf.struct
class Four:
    items: list[int] = bpf.array(u32, 4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    four = Four()
    return four.items[4]  # error: E0501
