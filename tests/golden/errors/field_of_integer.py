# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A field of what is no struct."""

import pyebpf as bpf
from pyebpf import u32, u64

sizes = bpf.HashMap[u32, u64](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    found = sizes[1]
    return found.count  # error: E0301
