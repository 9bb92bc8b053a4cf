# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""An update that cannot be atomic."""

import pyebpf as bpf
from pyebpf import u64

total = bpf.Global[u64](1)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    total.value *= 2  # error: E0508
    return 0
