# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A pattern that looks into an object."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    match skb.len:
        case int(real=4):  # error: E0404
            return 1
    return 0
