# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A function that returns a value on some paths only."""

import pyebpf as bpf


def pick(n):  # error: E0403
    if n > 4:
        return 1


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return pick(skb.len)
