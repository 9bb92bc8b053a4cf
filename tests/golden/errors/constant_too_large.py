# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A constant beyond 64 bits."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    n = 2**64  # error: E0206
    return n
