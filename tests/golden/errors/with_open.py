# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A context manager that is none of the language's."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    with open("x") as file:  # error: E0408
        return 0
    return 1
