# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A constant expression that raises."""

import pyebpf as bpf

SIZE = 16


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return SIZE // (SIZE - 16)  # error: E0205
