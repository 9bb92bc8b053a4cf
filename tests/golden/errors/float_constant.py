# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A floating-point constant."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return skb.len * 0.5  # error: E0302
