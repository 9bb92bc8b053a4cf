# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Two structs compared."""

import pyebpf as bpf
from pyebpf import u32


@bpf.struct
class Key:
    port: u32


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    one = Key(port=1)
    two = Key(port=2)
    return one == two  # error: E0310
