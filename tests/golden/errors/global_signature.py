# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A global function without types."""

import pyebpf as bpf


@bpf.global_function
def double(n) -> int:
    return n * 2


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return double(1)  # error: E0909
