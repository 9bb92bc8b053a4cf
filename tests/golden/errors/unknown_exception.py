# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""An exception that programs do not have."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    raise NotADirectoryError  # error: E0406
