# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A global statement."""

import pyebpf as bpf

hits = 0


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    global hits  # error: E0101
    return 0
