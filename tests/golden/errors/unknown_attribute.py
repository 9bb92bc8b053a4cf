# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A misspelt constant."""

import pyebpf as bpf


@bpf.xdp
def program(ctx: bpf.Xdp) -> int:
    return bpf.XDP_PAS  # error: E0203
