# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A misspelt field of the context."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return skb.protocl  # error: E0701
