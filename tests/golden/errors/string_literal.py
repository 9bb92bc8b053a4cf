# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Text where bytes are wanted."""

import pyebpf as bpf


@bpf.struct
class Name:
    text: bytes = bpf.chars(8)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    name = Name(text="abc")  # error: E0308
    return name.text == b"abc"
