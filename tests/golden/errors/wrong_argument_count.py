# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A missing argument."""

import pyebpf as bpf


def add(a, b):
    return a + b


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return add(1)  # error: E0903
