# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""An endless loop with a way out that nothing moves towards."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    while True:  # error: E0401
        if bpf.get_prandom_u32() == 0:
            break
    return 0
