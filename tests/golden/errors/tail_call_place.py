# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A tail call whose result is wanted."""

import pyebpf as bpf

progs = bpf.ProgArray(max_entries=4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    n = progs[0](skb)  # error: E0907
    return n
