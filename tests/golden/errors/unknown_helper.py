# ruff: noqa
# mypy: ignore-errors
"""A misspelt helper."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return bpf.get_prandom_u23()  # error: E0203
