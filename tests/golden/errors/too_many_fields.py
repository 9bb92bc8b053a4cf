# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""More values than fields."""

import pyebpf as bpf
from pyebpf import u32


@bpf.struct
class Key:
    port: u32


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    key = Key(80, 1)  # error: E0509
    return key.port
