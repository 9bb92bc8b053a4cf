# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A local function that is never called."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    def body(i):  # error: E0906
        return 0
    return 0
