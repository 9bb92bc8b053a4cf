# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""An annotation that is no type of the language."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    n: float = 1  # error: E0309
    return n
