# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A slice with a bound known only at run time."""

import pyebpf as bpf


@bpf.struct
class Name:
    text: bytes = bpf.chars(8)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    name = Name(text=b"abc")
    n = skb.len & 3
    return name.text[:n] == b"abc"  # error: E0506
