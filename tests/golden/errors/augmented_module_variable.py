# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A module variable that is changed without `global`."""

import pyebpf as bpf

hits = 0


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    hits += 1  # error: E0202
    return 0
