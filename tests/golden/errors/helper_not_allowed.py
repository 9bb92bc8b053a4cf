# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A helper of other program types."""

import pyebpf as bpf

bpf.license("GPL")


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return bpf.redirect(1, 0)  # error: E0802
