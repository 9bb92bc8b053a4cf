# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A misspelt field of a struct."""

import pyebpf as bpf
from pyebpf import u32


@bpf.struct
class Key:
    port: u32
    address: u32


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    key = Key(port=80)
    return key.adress  # error: E0502
