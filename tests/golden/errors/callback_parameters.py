# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A callback with too many parameters."""

import pyebpf as bpf


def body(i, state):
    return 0


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    bpf.loop(10, body)  # error: E0906
    return 0
