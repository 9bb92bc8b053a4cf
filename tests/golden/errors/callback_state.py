# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A number as the state of a loop."""

import pyebpf as bpf


def body(i, state):
    return 0


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    bpf.loop(10, body, 5)  # error: E0906
    return 0
