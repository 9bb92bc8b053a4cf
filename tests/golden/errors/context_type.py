# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A context of another program type."""

import pyebpf as bpf


@bpf.xdp
def program(ctx: bpf.SkBuff) -> int:  # error: E0301
    return 0
