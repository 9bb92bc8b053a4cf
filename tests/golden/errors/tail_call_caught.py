# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A tail call that is to fail, beside objects that do not fit on the stack."""

import pyebpf as bpf
from pyebpf import u64

others = bpf.ProgArray(max_entries=2)


@bpf.xdp
def program(ctx: bpf.Xdp) -> int:
    words = bpf.array(u64, 100)
    try:
        return others[words[3]](ctx)  # error: E0907
    except KeyError:
        return int(words[4])
