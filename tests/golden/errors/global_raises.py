# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""An exception that would leave a global function."""

import pyebpf as bpf
from pyebpf import u32, u64

packets = bpf.HashMap[u32, u64](max_entries=4)


@bpf.global_function
def look(key: u32) -> int:  # error: E0908
    return packets[key]


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return look(1)
