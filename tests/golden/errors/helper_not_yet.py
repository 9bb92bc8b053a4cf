# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A helper whose argument programs cannot have."""

import pyebpf as bpf
from pyebpf import u32


@bpf.tc
def program(skb: bpf.SkBuff) -> int:
    lock = bpf.array(u32, 1)
    bpf.spin_lock(lock)  # error: E0808
    return 0
