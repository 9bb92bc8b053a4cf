# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A method."""

import pyebpf as bpf


class Counter:
    def update(self, n):
        return n

counter = Counter()


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return counter.update(1)  # error: E0911
