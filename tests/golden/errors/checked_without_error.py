# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A check of what cannot fail."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return bpf.checked(bpf.get_prandom_u32())  # error: E0810
