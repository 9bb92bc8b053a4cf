# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""More arguments than a probe can have."""

import pyebpf as bpf

bpf.license("GPL")

@bpf.usdt("python3", "python", "line")
def program(a, b, c, d, e, f, g, h, i, j, k, l, m) -> None:  # error: E1204
    pass
