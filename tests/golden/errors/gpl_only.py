# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A GPL-only helper without a licence."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    print("hello")  # error: E0804
    return 0
