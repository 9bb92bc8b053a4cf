# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A path without a verdict."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:  # error: E0403
    if skb.len > 4:
        return 1
