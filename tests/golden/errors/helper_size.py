# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A size beyond the memory."""

import pyebpf as bpf


@bpf.tc
def program(skb: bpf.SkBuff) -> int:
    data = bpf.chars(8)
    bpf.skb_load_bytes(skb, 0, data, 16)  # error: E0807
    return 0
