# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Reading a field that the program type may not read."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return skb.tc_classid  # error: E0702
