# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Bytes that do not fit into a field."""

import pyebpf as bpf


@bpf.struct
class Name:
    text: bytes = bpf.chars(4)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    name = Name(text=b"too long")  # error: E0507
    return name.text == b"abc"
