# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A function of Python that programs do not have."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return sorted(skb)  # error: E0904
