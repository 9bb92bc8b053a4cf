# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Two maps of one name."""

import pyebpf as bpf
from pyebpf import u32, u64

one = bpf.ArrayMap[u32, u64](max_entries=1, name="same")
two = bpf.ArrayMap[u32, u64](max_entries=1, name="same")


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:  # error: E0208
    return one[0] + two[0]
