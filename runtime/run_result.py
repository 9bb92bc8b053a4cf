"""What a test run gives and what it takes: the same in the kernel and in the built-in machine."""

from __future__ import annotations

import os

from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass
from pyebpf.uapi.constants import ProgType

if TYPE_CHECKING:
    from typing import Final


_ETHERNET_HEADER: Final = 14
_BYTES: Final = (bytes, bytearray, memoryview)
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

ON_SKB: Final = ON_PACKETS - {ProgType.XDP, ProgType.FLOW_DISSECTOR, ProgType.NETFILTER}
"""Types whose test run makes a socket buffer of the frame, which has to fit into a page."""

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


def longest_frame() -> int:
    """The longest frame, in bytes, of a test run of ``ON_SKB``: what a page leaves beside the headroom and ``struct
    skb_shared_info`` (``bpf_test_init``, net/bpf/test_run.c)."""
    return os.sysconf("SC_PAGE_SIZE") - 64 - 320


def check_input(prog_type: ProgType, data: object, repeat: int, ctx: object = None) -> bytes:
    """The data as bytes. Raise ``TypeError`` for what is none, ``ValueError`` for input that the type does not take."""
    if ctx is not None and not isinstance(ctx, _BYTES):
        raise TypeError(f"the context of a test run: bytes wanted, not {type(ctx).__name__}")
    if not isinstance(data, _BYTES):
        raise TypeError(f"the data of a test run: bytes wanted, not {type(data).__name__}")
    data = bytes(data)
    if prog_type in ON_PACKETS and len(data) < _ETHERNET_HEADER:
        raise ValueError(
            f"a {prog_type.name} program runs on a frame of at least {_ETHERNET_HEADER} bytes, not {len(data)}"
        )
    if prog_type in ON_CONTEXT and (data or repeat != 1):
        raise ValueError(f"a {prog_type.name} program runs once, on a context (ctx=…), not on data")
    return data
