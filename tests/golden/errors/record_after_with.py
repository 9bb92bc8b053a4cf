# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A record that has been submitted."""

import pyebpf as bpf
from pyebpf import u32


@bpf.struct
class Event:
    length: u32

events = bpf.RingBuf(4096)


@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    with events.reserve(Event) as event:
        if event is not None:
            event.length = skb.len
    if event is not None:  # error: E0503
        return event.length
    return 0
