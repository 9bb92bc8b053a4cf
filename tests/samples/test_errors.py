"""What the samples do when something goes wrong, as their texts say it: on the kernel and in the built-in machine."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

import pyebpf as bpf
from tests.samples.expected import SAMPLES

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")

SENT = 2100
"""Events of 32 bytes with their headers, for a ring buffer of 65,536."""
HERE, THERE = ("10.99.0.1", 40000), ("10.99.0.2", 7001)


@pytest.fixture(params=[False, True], ids=["kernel", "machine"])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs in the kernel, then in a machine of its own."""
    monkeypatch.syspath_prepend(str(SAMPLES))
    with bpf.machine() if request.param else nullcontext():
        yield


def sample(name: str) -> Any:
    return importlib.import_module(name)


def verdict(program: Any, frame: bytes, **options: Any) -> int:
    """The verdict as a signed number."""
    found: int = program.run(frame, **options).verdict
    return found - (1 << 32 if found >= 1 << 31 else 0)


@pytest.mark.parametrize("length", range(14, 42))
def test_short_packets(world: None, length: int) -> None:
    """Packets that end before what a sample reads have the verdict of ``on_error``."""
    frames = sample("frames")
    frame = frames.udp(HERE, THERE, b"hello")[:length]
    tcp = frames.tcp(HERE, ("10.99.0.2", 2222), frames.SYN)[:length]
    firewall = sample("port_firewall")
    firewall.blocked[2222] = 1
    before = len(firewall.drops)
    assert verdict(firewall.port_firewall, tcp) == (bpf.XDP_DROP if length >= 38 else bpf.XDP_PASS)
    assert length >= 38 or len(firewall.drops) == before
    assert verdict(sample("lpm_block").lpm_block, frame) == bpf.XDP_PASS
    if length >= 34:  # less is no packet of IP for a test run of this type; the port ends at 38
        marking = verdict(sample("tc_mark").set_mark, frame)
        assert marking == (bpf.TC_ACT_UNSPEC if length >= 38 else bpf.TC_ACT_OK)
    # The kernel's test run takes the Ethernet header from a socket filter, so one more is put before the frame.
    filtered = bytes(14) + frame
    counting = sample("protocol_count")
    kept = counting.count_by_protocol.run(filtered).verdict & 0xFFFF_FFFF
    assert kept == (bpf.KEEP if length < 24 else length)
    reporting = sample("packet_events")
    assert verdict(reporting.packet_events, filtered) == 0
    assert verdict(sample("hello_socket").keep_four, filtered) == 4


def test_a_full_ring_buffer(world: None) -> None:
    """Events that find no room are counted, the verdict is the same."""
    frames, reporting = sample("frames"), sample("packet_events")
    frame = frames.for_packet_socket(frames.udp(HERE, THERE, b"12345678"))
    lost_before = reporting.lost.value
    for _ in range(SENT):
        assert verdict(reporting.packet_events, frame) == 0
    lost = reporting.lost.value - lost_before
    assert lost > 0
    got = list(reporting.events.poll(reporting.Event, timeout=0.1))
    assert len(got) == SENT - lost
    assert verdict(reporting.packet_events, frame) == 0
    assert len(list(reporting.events.poll(reporting.Event, timeout=0.1))) == 1, "there is room again"


def test_a_full_map(world: None) -> None:
    """``seen[mark] += 1`` with 16 marks there already: OSError, which ``on_error`` lets pass."""
    frames, marking = sample("frames"), sample("tc_mark")
    frame = frames.udp(HERE, THERE, b"hello")
    marking.seen.clear()
    for mark in range(100, 116):
        marking.seen[mark] = 1
    marking.marks[7001] = 7
    assert verdict(marking.set_mark, frame) == bpf.TC_ACT_OK
    assert 7 not in marking.seen
    del marking.seen[100]
    assert verdict(marking.set_mark, frame) == bpf.TC_ACT_UNSPEC
    assert marking.seen[7] == 1
    marking.seen.clear()
    marking.marks.clear()


def test_missing_keys(world: None) -> None:
    """A port that is not blocked, an address in no network, a port without a mark."""
    frames = sample("frames")
    frame = frames.udp(HERE, ("10.99.0.2", 9), b"hello")
    firewall = sample("port_firewall")
    firewall.blocked.clear()
    assert verdict(firewall.port_firewall, frames.tcp(HERE, ("10.99.0.2", 2222), frames.SYN)) == bpf.XDP_PASS
    blocking = sample("lpm_block")
    assert verdict(blocking.lpm_block, frame) == bpf.XDP_PASS
    marking = sample("tc_mark")
    marking.marks.clear()
    marking.seen.clear()
    assert verdict(marking.set_mark, frame) == bpf.TC_ACT_UNSPEC
    assert marking.seen[0] == 1


def test_a_message_shorter_than_the_needle(world: None) -> None:
    dropping = sample("drop_foobar").drop_foobar
    for word, expected in ((b"", bpf.SK_PASS), (b"fooba", bpf.SK_PASS), (b"xfoobar", bpf.SK_DROP)):
        assert verdict(dropping, word, machine=True) == expected
