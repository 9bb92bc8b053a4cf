# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A call of a number."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    n = skb.len
    return n(1)  # error: E0904
