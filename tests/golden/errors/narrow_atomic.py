# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""An update of a narrow value that other CPUs share."""

import pyebpf as bpf
from pyebpf import u8, u32

flags = bpf.ArrayMap[u32, u8](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    flags[0] |= 1  # error: E0508
    return 0
