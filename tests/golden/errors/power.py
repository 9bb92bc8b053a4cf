# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A power of a run-time value."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return skb.len ** 2  # error: E0306
