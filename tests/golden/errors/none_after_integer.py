# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A function that returns a number on one path, and nothing on a later one."""

import pyebpf as bpf


def kind(length):
    if length > 100:
        return 1
    return  # error: E0912


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    kind(len(skb))
    return 0
