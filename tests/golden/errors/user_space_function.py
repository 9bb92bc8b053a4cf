# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A function of pyebpf that is for user space."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    bpf.load("other.o")  # error: E0602
    return 0
