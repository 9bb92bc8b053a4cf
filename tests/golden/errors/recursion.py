# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A function that calls itself."""

import pyebpf as bpf


def factorial(n):
    return 1 if n < 2 else n * factorial(n - 1)  # error: E0901


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return factorial(5)
