# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""`print` with two arguments."""

import pyebpf as bpf

bpf.license("GPL")


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    print("length", skb.len)  # error: E0301
    return 0
