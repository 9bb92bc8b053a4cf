# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Writing to a constant."""

import pyebpf as bpf
from pyebpf import u32

limit = bpf.Const[u32](4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    limit.value = 5  # error: E0505
    return 0
