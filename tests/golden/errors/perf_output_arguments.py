# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""The arguments of ``output`` of a perf event array."""

import pyebpf as bpf
from pyebpf import u32

bpf.license("GPL")


@bpf.struct
class Event:
    length: u32

events = bpf.PerfEventArray[Event]()


@bpf.tc
def program(skb: bpf.SkBuff) -> int:
    events.output(Event(length=1))  # error: E0605
    events.output(Event(length=1), Event(length=2))  # error: E0806
    events.output(skb, Event(length=1), len(skb) + 1)  # error: E0605
    return 0
