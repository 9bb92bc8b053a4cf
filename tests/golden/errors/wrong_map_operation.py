# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A queue is no mapping."""

import pyebpf as bpf
from pyebpf import u64

queue = bpf.Queue[u64](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return queue[0]  # error: E0601
