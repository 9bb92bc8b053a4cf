# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A method that other maps have."""

import pyebpf as bpf
from pyebpf import u64

queue = bpf.Queue[u64](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    queue.update(0, 1)  # error: E0601
    return 0
