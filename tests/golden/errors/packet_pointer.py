# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Arithmetic on a packet pointer."""

import pyebpf as bpf


@bpf.xdp
def program(ctx: bpf.Xdp) -> int:
    start = ctx.data + 14  # error: E0707
    return start
