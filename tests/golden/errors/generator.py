# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A generator as a program."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:  # error: E0103
    yield 1
