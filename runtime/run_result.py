"""What a test run gives and what it takes: the same in the kernel and in the built-in machine."""

from __future__ import annotations

from typing import Final

from pyebpf.records import dataclass
from pyebpf.uapi.constants import ProgType

_ETHERNET_HEADER: Final = 14
ON_PACKETS: Final = frozenset(
    {
        ProgType.SOCKET_FILTER,
        ProgType.SCHED_CLS,
        ProgType.SCHED_ACT,
        ProgType.XDP,
        ProgType.CGROUP_SKB,
        ProgType.LWT_IN,
        ProgType.LWT_OUT,
        ProgType.LWT_XMIT,
        ProgType.LWT_SEG6LOCAL,
        ProgType.FLOW_DISSECTOR,
        ProgType.NETFILTER,
    }
)
"""Types whose test run takes a frame."""

ON_CONTEXT: Final = frozenset({ProgType.RAW_TRACEPOINT, ProgType.SYSCALL, ProgType.SK_LOOKUP})
"""Types whose test run takes a context only, once."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a test run gave: the verdict as a signed number, the packet after the program, nanoseconds per
    run, and the context after it (empty if none was passed). ``machine``: it was the built-in machine's."""

    verdict: int
    data: bytes
    duration: int
    ctx: bytes = b""
    machine: bool = False


def check_input(prog_type: ProgType, data: bytes, repeat: int) -> None:
    """Raise ``ValueError`` for input that the type does not take."""
    if prog_type in ON_PACKETS and len(data) < _ETHERNET_HEADER:
        raise ValueError(
            f"a {prog_type.name} program runs on a frame of at least {_ETHERNET_HEADER} bytes, not {len(data)}"
        )
    if prog_type in ON_CONTEXT and (data or repeat != 1):
        raise ValueError(f"a {prog_type.name} program runs once, on a context (ctx=…), not on data")
