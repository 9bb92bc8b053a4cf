# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A list of constants."""

import pyebpf as bpf

PORTS = [80, 443]


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return skb.len in PORTS  # error: E0204
