# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A cause."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    try:
        raise KeyError
    except KeyError as error:
        raise ValueError from error  # error: E0407
