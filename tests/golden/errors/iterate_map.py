# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A loop over a map."""

import pyebpf as bpf
from pyebpf import u32, u64

packets = bpf.HashMap[u32, u64](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    for key in packets:  # error: E0405
        return key
    return 0
