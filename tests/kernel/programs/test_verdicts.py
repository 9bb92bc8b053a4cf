"""An error that nobody handles ends a program with its error verdict: every error, every program type, in both worlds."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

import pyebpf as bpf
from pyebpf import u8, u32, u64

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")

bpf.license("GPL")


@bpf.struct
class Event:
    text: bytes = bpf.chars(200)


numbers = bpf.HashMap[u32, u64](max_entries=2)
events = bpf.RingBuf(4096)
others = bpf.ProgArray(max_entries=1)

TYPES: dict[str, tuple[Callable[..., Any], int]] = {
    "socket_filter": (bpf.socket_filter, 0),
    "xdp": (bpf.xdp, bpf.XDP_ABORTED),
    "tc": (bpf.tc, bpf.TC_ACT_SHOT),
    "tc_ingress": (bpf.tc_ingress, bpf.TC_ACT_SHOT),
    "tc_egress": (bpf.tc_egress, bpf.TC_ACT_SHOT),
    "action": (bpf.action, bpf.TC_ACT_SHOT),
    "sk_skb_verdict": (bpf.sk_skb_verdict, bpf.SK_DROP),
    "sk_skb_stream_verdict": (bpf.sk_skb_stream_verdict, bpf.SK_DROP),
    "sk_skb_stream_parser": (bpf.sk_skb_stream_parser, -errno.EBADMSG),
}
"""Each decorator with the documented verdict."""
MACHINE_ONLY = {"sk_skb_verdict", "sk_skb_stream_verdict", "sk_skb_stream_parser"}
"""The kernel has no test run for them."""


def missing(first: int) -> int:
    """A key that is not there."""
    return int(numbers[first + 1000])


def full(first: int) -> int:
    """More keys than the map has room for."""
    for i in range(first, first + 8):
        numbers[i] = 1
    return 1


def divided(first: int) -> int:
    """By zero, which only a run knows."""
    return 100 // (first - 1)


def outside(first: int) -> int:
    """An index."""
    table = bpf.array(u8, 4)
    return int(table[first + 3])


def asserted(first: int) -> int:
    assert first == 2, "it is one"
    return 1


def raised(first: int) -> int:
    if first == 1:
        raise ValueError
    return 1


def crowded(first: int) -> int:
    """More records than the ring buffer has room for."""
    for _ in range(30):
        with events.reserve(Event) as event:
            if event is None:
                raise MemoryError
            event.text = b"x"
    return first


ERRORS = [missing, full, divided, outside, asserted, raised, crowded]


def programs(kind: str, error: Callable[[int], int]) -> tuple[Any, Any]:
    """A program of a type that meets ``error``, with its documented verdict and with one of its own."""
    decorate, _ = TYPES[kind]
    if kind == "xdp":

        def program(ctx: bpf.Xdp) -> int:
            return error(ctx.read(u8, 0))

        def other(ctx: bpf.Xdp) -> int:
            return error(ctx.read(u8, 0))
    else:

        def program(skb: bpf.SkBuff) -> int:  # type: ignore[misc]  # the other one of two
            return error(skb.load(u8, 0))

        def other(skb: bpf.SkBuff) -> int:  # type: ignore[misc]  # the other one of two
            return error(skb.load(u8, 0))

    return decorate(program), decorate(on_error=1)(other)


def packet(kind: str) -> bytes:
    """A packet whose first byte, as the program sees it, is 1; the kernel takes the Ethernet header from socket filters."""
    return (bytes(14) if kind == "socket_filter" else b"") + b"\1" + bytes(59)


@pytest.mark.parametrize("machine", [False, True], ids=["kernel", "machine"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
@pytest.mark.parametrize("kind", TYPES)
def test_an_error_ends_a_program_with_its_verdict(
    kind: str, error: Callable[[int], int], machine: bool
) -> None:
    if kind in MACHINE_ONLY and not machine:
        with pytest.raises(bpf.PyebpfError):
            programs(kind, error)[0].run(packet(kind))
        return
    _, verdict = TYPES[kind]
    for program, expected in zip(programs(kind, error), (verdict, 1), strict=True):
        found = program.run(packet(kind), machine=machine).verdict
        assert found - (1 << 32 if found >= 1 << 31 else 0) == expected
