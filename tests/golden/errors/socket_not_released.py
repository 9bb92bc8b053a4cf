# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A socket that is looked up and kept."""

import pyebpf as bpf


@bpf.tc
def program(skb: bpf.SkBuff) -> int:
    where = bpf.chars(12)
    found = bpf.sk_lookup_tcp(skb, where, 12, 0, 0)  # error: E0809
    if found is None:
        return 0
    return 1
