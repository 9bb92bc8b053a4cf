# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A loop variable of a loop that may not run."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    n = skb.len & 7
    for i in range(n):
        pass
    return i  # error: E0202
