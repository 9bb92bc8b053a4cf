# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Columns count characters, not bytes."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    größe = "äöü" if skb.len else 0; länge = größ + 1  # error: E0308 E0201
    return 0
