# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A global function without types."""

import pyebpf as bpf


@bpf.global_function
def double(n) -> int:  # error: E0909
    return n * 2


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return double(1)
