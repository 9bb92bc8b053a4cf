# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A misspelt helper."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return bpf.get_prandom_u23()  # error: E0203
