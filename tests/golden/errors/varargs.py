# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A function with any number of parameters."""

import pyebpf as bpf


def total(*values):  # error: E0905
    return 0


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return total(1, 2)
