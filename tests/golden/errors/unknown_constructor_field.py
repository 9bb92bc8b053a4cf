# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A misspelt field in a construction."""

import pyebpf as bpf
from pyebpf import u32


@bpf.struct
class Key:
    port: u32
    address: u32


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    key = Key(prt=80)  # error: E0502
    return key.port
