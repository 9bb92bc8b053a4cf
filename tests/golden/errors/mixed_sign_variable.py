# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A variable that is `u64` here and negative there."""

import pyebpf as bpf
from pyebpf import u64

total = bpf.Global[u64](0)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    n = -1
    if skb.len > 4:
        n = total.value  # error: E0303
    return n > 0
