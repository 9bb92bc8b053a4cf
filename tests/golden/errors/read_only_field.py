# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Writing a field of the context that is read-only."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    skb.len = 4  # error: E0702
    return 0
