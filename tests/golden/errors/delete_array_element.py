# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Elements of arrays cannot be deleted."""

import pyebpf as bpf
from pyebpf import u32, u64

packets = bpf.ArrayMap[u32, u64](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    del packets[0]  # error: E0601
    return 0
