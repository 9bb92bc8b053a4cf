# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Three values for two names."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    a, b = 1, 2, 3  # error: E0312
    return a
