# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A missing argument of a helper."""

import pyebpf as bpf


@bpf.xdp
def program(ctx: bpf.Xdp) -> int:
    return bpf.redirect(1)  # error: E0805
