# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A licence that the kernel does not take for GPL-compatible."""

import pyebpf as bpf

bpf.license("MIT")


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    print("hello")  # error: E0804
    return 0
