# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A variable that is a number and a struct."""

import pyebpf as bpf
from pyebpf import u32


@bpf.struct
class Key:
    port: u32


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    thing = 1
    thing = Key(port=1)  # error: E0305
    return 0
