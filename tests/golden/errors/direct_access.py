# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Direct packet access in a socket filter."""

import pyebpf as bpf
from pyebpf import u8


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return skb.read(u8, 0)  # error: E0705
