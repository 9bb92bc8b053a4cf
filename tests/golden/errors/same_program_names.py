# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Two programs of one name."""

import pyebpf as bpf


def make(verdict):
    @bpf.socket_filter
    def keep(skb: bpf.SkBuff) -> int:  # error: E0208
        return verdict

    return keep

one = make(1)
two = make(2)
