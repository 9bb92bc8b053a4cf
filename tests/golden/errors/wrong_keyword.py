# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A misspelt keyword argument."""

import pyebpf as bpf


def clamp(value, limit):
    return min(value, limit)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return clamp(skb.len, limt=4)  # error: E0903
