# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A program that calls a program."""

import pyebpf as bpf


@bpf.socket_filter
def other(skb: bpf.SkBuff) -> int:
    return 0


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return other(skb)  # error: E0910
