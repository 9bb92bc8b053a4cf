# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Six arguments."""

import pyebpf as bpf


def add(a, b, c, d, e, f):
    return a + b + c + d + e + f


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return add(1, 2, 3, 4, 5, 6)  # error: E0902
