# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""`u64` minus what may be negative."""

import pyebpf as bpf
from pyebpf import u64

total = bpf.Global[u64](0)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    difference = skb.len - skb.mark
    return total.value + difference  # error: E0303
