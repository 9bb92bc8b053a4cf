# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""More iterations than the verifier follows."""

import pyebpf as bpf


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    total = 0
    for i in range(1_000_000):  # error: E0402
        total += i * 3
    return total
