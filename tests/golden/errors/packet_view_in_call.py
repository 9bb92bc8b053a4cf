# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A view that is evaluated before a change in the same statement."""

import pyebpf as bpf
from pyebpf import be16


@bpf.struct
class Ethernet:
    protocol: be16


def look(ethernet, result):
    return ethernet.protocol + result


@bpf.xdp
def program(ctx: bpf.Xdp) -> int:
    return look(ctx.read(Ethernet, 12), ctx.adjust_head(4))  # error: E0704
