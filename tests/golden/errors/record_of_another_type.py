# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Records that are not what a stream was declared with."""

import pyebpf as bpf
from pyebpf import u32

bpf.license("GPL")


@bpf.struct
class Event:
    length: u32

@bpf.struct
class Other:
    length: u32

ring = bpf.RingBuf[Event](4096)
events = bpf.PerfEventArray[Event]()


@bpf.tc
def reserves(skb: bpf.SkBuff) -> int:
    with ring.reserve(Other) as record:  # error: E0604
        if record is not None:
            record.length = 1
    return 0


@bpf.tc
def outputs(skb: bpf.SkBuff) -> int:
    ring.output(Other(length=1))  # error: E0604
    events.output(skb, Other(length=1))  # error: E0604
    events.output(skb, 5)  # error: E0604
    return 0
