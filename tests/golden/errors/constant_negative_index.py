# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A negative index outside of an array."""

import pyebpf as bpf
from pyebpf import u32


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    items = bpf.array(u32, 4)
    items[-5] = 1  # error: E0501
    return 0
