# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""`is` with a number."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    n = skb.len
    return n is 4  # error: E0310
