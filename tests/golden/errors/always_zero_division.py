# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A division by zero."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return skb.len // 0  # error: E0307
