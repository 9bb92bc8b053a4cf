# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A number where the keys are structs."""

import pyebpf as bpf
from pyebpf import u32, u64


@bpf.struct
class Key:
    port: u32

ports = bpf.HashMap[Key, u64](max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return ports[80]  # error: E0603
