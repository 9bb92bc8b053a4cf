# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""The wrong side of a check for None."""

import pyebpf as bpf
from pyebpf import u32, u64


@bpf.struct
class Info:
    packets: u64
    last: u32


infos = bpf.HashMap[u32, Info](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    info = infos.get(1)
    if info is None:
        info.last = 3  # error: E0311
    other = infos.get(2)
    if other is None:
        return other.last  # error: E0311
    return 0
