# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A tail call from a function."""

import pyebpf as bpf

progs = bpf.ProgArray(max_entries=4)


def go(skb):
    return progs[0](skb)  # error: E0907


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    go(skb)
    return 0
