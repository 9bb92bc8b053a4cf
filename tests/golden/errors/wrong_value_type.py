# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A struct where the values are numbers."""

import pyebpf as bpf
from pyebpf import u32, u64


@bpf.struct
class Key:
    port: u32

ports = bpf.HashMap[Key, u64](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    key = Key(port=80)
    ports[key] = key  # error: E0604
    return 0
