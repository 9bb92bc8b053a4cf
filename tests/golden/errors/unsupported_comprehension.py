# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A comprehension."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    total = [n for n in range(4)]  # error: E0101
    return 0
