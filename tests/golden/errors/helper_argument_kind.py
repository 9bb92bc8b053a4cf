# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""The context where a number is wanted."""

import pyebpf as bpf


@bpf.xdp
def program(ctx: bpf.Xdp) -> int:
    return bpf.redirect(ctx, 0)  # error: E0806
