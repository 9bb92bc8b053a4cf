# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Perf event arrays in programs: what they offer, and to whom."""

import pyebpf as bpf
from pyebpf import u32


@bpf.struct
class Event:
    length: u32

events = bpf.PerfEventArray[Event]()


@bpf.tc
def without_licence(skb: bpf.SkBuff) -> int:
    events.output(skb, Event(length=1))  # error: E0804
    return 0


@bpf.tc
def methods(skb: bpf.SkBuff) -> int:
    events.reserve(Event)  # error: E0601
    events.batch()  # error: E0602
    return events[0]  # error: E0601
