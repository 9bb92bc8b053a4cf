"""Ring buffers and perf event arrays of compiled programs, as users have them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyebpf as bpf
from pyebpf import u8, u16, u32, u64
from pyebpf.runtime.errors import LostEvents
from pyebpf.runtime.events import EventStream
from pyebpf.runtime.events_together import poll
from tests.kernel.runtime.places import open_fds

bpf.license("GPL")

ROOT = Path(__file__).resolve().parents[2]
FRAME = bytes(12) + b"\x08\x00" + bytes(range(50))


@bpf.struct
class Event:
    number: u64
    length: u32
    kind: u8
    start: bytes = bpf.chars(6)


@bpf.struct
class Header:
    low: u16
    high: u32


@bpf.struct
class Short:
    low: u16
    next: u16


ring = bpf.RingBuf[Event](1 << 16)
untyped = bpf.RingBuf(1 << 14)
events = bpf.PerfEventArray[Event](pages=8)
plain = bpf.PerfEventArray(pages=1, wakeup=2)
sent = bpf.Global[u64](0)
failed = bpf.Global[u64](0)


@bpf.tc
def from_tc(skb: bpf.SkBuff) -> int:
    """Output to everything."""
    sent.value += 1
    event = Event(number=sent.value, length=len(skb), kind=1, start=b"tc")
    bpf.checked(events.output(skb, event))
    bpf.checked(ring.output(event))
    with ring.reserve(Event) as record:
        if record is None:
            return 1
        record.number = sent.value
        record.start = b"again"
    untyped.output(event.start)
    return 0


@bpf.xdp
def from_xdp(ctx: bpf.Xdp) -> int:
    """Output a part of the packet, which the helper cannot read there."""
    flags: u64 = bpf.BPF_F_CURRENT_CPU
    if events.output(ctx, Event(number=77, length=0, kind=2, start=b""), flags) != 0:
        return bpf.XDP_ABORTED
    header = ctx.read(Header, 14)
    return bpf.XDP_PASS if plain.output(ctx, header) == 0 else bpf.XDP_ABORTED


@bpf.socket_filter
def from_socket_filter(skb: bpf.SkBuff) -> int:
    """A slot that does not exist."""
    slot: u64 = 4000
    result = events.output(skb, Event(number=1, length=0, kind=0, start=b""), slot)
    if result < 0:
        failed.value = -result
    try:
        bpf.checked(events.output(skb, Event(number=1, length=0, kind=0, start=b""), slot))
    except OSError:
        failed.value += 1000
    return 0


@pytest.fixture(autouse=True, scope="module")
def loaded_before() -> None:
    """What the first load of a process keeps is no leak."""
    from_tc.load()
    close_all()


def close_all() -> None:
    """Give everything of this module up."""
    for program in (from_tc, from_xdp, from_socket_filter):
        program.close()
    for stream in (ring, untyped, events, plain):
        stream.close()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = open_fds()
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    yield
    os.sched_setaffinity(0, cpus)
    close_all()
    sent.value = 0
    assert open_fds() == before


def test_what_a_program_outputs_arrives() -> None:
    assert from_tc.run(FRAME, repeat=2).verdict == 0
    first, second = events.read_all()
    assert first == Event(number=1, length=64, kind=1, start=b"tc") and second.number == 2
    assert [event.start for event in ring.poll()] == [b"tc", b"again"] * 2
    assert untyped.read_all() == [b"tc\0\0\0\0"] * 2
    from_tc.run(FRAME)
    assert [(stream is ring, event.number) for stream, event in bpf.poll(events, ring, timeout=0)] == [
        (False, 3),
        (True, 3),
        (True, 3),
    ]
    from_tc.run(FRAME)
    seen: list[bytes] = []
    assert untyped.consume(seen.append) == 2 and seen == [b"tc\0\0\0\0"] * 2
    assert list(untyped.poll(Header)) == []
    assert ring.batch(limit=1)[0].number == 4
    assert events.lost == 0 and events.use().waiting == 40


def test_the_loops_over_streams() -> None:
    from_tc.run(FRAME, repeat=2)
    for event in ring:
        if event.number == 2:
            break
    assert [event.start for event in ring.poll()] == [b"again"]

    async def both() -> list[int]:
        seen = []
        async for event in events:
            seen.append(event.number)
            if len(seen) == 2:
                break
        async for start in untyped.stream(Short):
            seen.append(start.low)
            break
        return seen

    assert asyncio.run(asyncio.wait_for(both(), 5)) == [1, 2, int.from_bytes(b"tc", sys.byteorder)]
    with pytest.raises(ValueError, match="a record of 6 bytes in 'untyped', where events have 8"):
        list(untyped.poll(Header))


def test_a_record_in_the_packet_is_copied() -> None:
    assert from_xdp.run(FRAME).verdict == bpf.XDP_PASS
    assert [event.number for event in events.poll()] == [77]
    (found,) = plain.poll(Header)
    assert found == Header(low=0x0100 if sys.byteorder == "little" else 1, high=found.high)
    assert found.high.to_bytes(4, sys.byteorder) == bytes([4, 5, 6, 7])


def test_errors_of_output_are_errnos() -> None:
    from_socket_filter.run(FRAME)
    assert failed.value == 7 + 1000  # E2BIG


def test_events_are_there_from_the_load_on() -> None:
    from_tc.load()
    from_tc.run(FRAME)
    assert len(events.read_all()) == 1


def test_leaving_the_with_closes() -> None:
    with events, ring as same:
        assert same is ring
        from_tc.run(FRAME)
    from_tc.close()
    assert events.read_all() == []  # a new one


def test_arrays() -> None:
    pytest.importorskip("numpy")
    from_tc.run(FRAME, repeat=3)
    assert events.numpy()["number"].tolist() == [1, 2, 3]
    assert ring.numpy()["start"].tolist() == [b"tc", b"again"] * 3
    assert untyped.numpy().shape == (3, 6)
    assert untyped.numpy(Header).shape == (0,)


def test_a_lost_event_is_told() -> None:
    told: list[int] = []
    events.on_lost = told.append
    from_tc.load()
    while from_tc.run(FRAME).verdict == 0 and sent.value < 3000:
        ring.read_all(), untyped.read_all()
    before = len(events.read_all())
    ring.read_all(), untyped.read_all()
    from_tc.run(FRAME)
    events.read_all()
    assert before > 100 and told and sum(told) == events.lost


def what_perf_buffers_do() -> list[object]:
    """Run, overflow, read, and what came of it."""
    seen: list[object] = [from_tc.run(FRAME).verdict, events.read_all()]
    verdicts = []
    for _ in range(1000):
        verdicts.append(from_tc.run(FRAME).verdict)
        ring.read_all(), untyped.read_all()
    seen += [verdicts, len(events.read_all()), events.lost]
    from_tc.run(FRAME)
    ring.read_all(), untyped.read_all()
    with pytest.warns(LostEvents):
        seen += [events.read_all(), events.lost, events.use().waiting]
    from_xdp.run(FRAME)
    return [*seen, events.read_all(), plain.read_all(), [from_socket_filter.run(FRAME).verdict, failed.value]]


def test_the_machine_has_perf_buffers_as_the_kernel_has() -> None:
    from_kernel = what_perf_buffers_do()
    sent.value = failed.value = 0
    with bpf.machine():
        assert what_perf_buffers_do() == from_kernel
        waits = bpf.RingBuf[Event](4096)
        assert waits.read_all() == [] and list(waits.poll(timeout=0.05)) == []


def test_the_machine_has_the_same_interface() -> None:
    @bpf.tc
    def only_ring(skb: bpf.SkBuff) -> int:
        ring.output(Event(number=len(skb), length=0, kind=0, start=b""))
        return 0

    with bpf.machine():
        only_ring.run(FRAME)
        only_ring.run(FRAME)
        assert [event.number for event in ring.batch(limit=1)] == [64]
        assert [event.number for event in ring.poll()] == [64]
        timer = threading.Timer(0.1, lambda: only_ring.run(FRAME))
        timer.start()
        assert [(stream is ring, event.number) for stream, event in bpf.poll(ring, untyped, timeout=0.5)] == [
            (True, 64)
        ]
        timer.join()

        async def one() -> int:
            async for event in ring:
                return event.number
            return 0

        async def main() -> int:
            task = asyncio.create_task(one())
            await asyncio.sleep(0.05)
            only_ring.run(FRAME)
            return await asyncio.wait_for(task, 2)

        assert asyncio.run(main()) == 64
        assert ring.use().waiting == 0
    only_ring.close()


def test_streams_of_the_kernel_and_of_the_machine_are_not_waited_for_together() -> None:
    of_kernel = ring.live
    with bpf.machine():
        of_machine = ring.live
        for order in ((of_kernel, of_machine), (of_machine, of_kernel)):
            assert list(poll(*order, timeout=0)) == []
            with pytest.raises(TypeError, match=r"the kernel and .* machine cannot be waited for"):
                next(poll(*order, timeout=5))


def test_stack_traces_of_user_space() -> None:
    stacks = bpf.StackTrace(max_entries=16, depth=8)
    assert len(stacks) == 0 and 3 not in stacks and stacks.get(3) is None and list(stacks.items()) == []
    with pytest.raises(KeyError):
        stacks[3]
    assert stacks.live.value_size == 64
    stacks.clear()
    stacks.close()
    with pytest.raises(ValueError, match="at least 1"):
        bpf.StackTrace(depth=0)
    with pytest.raises(ValueError, match="at least 1"):
        bpf.StackTrace(max_entries=0)


PRODUCER = """
import sys
import pyebpf as bpf
from pyebpf import u64

@bpf.struct
class Number:
    value: u64

bpf.license("GPL")
numbers = bpf.RingBuf[Number](1 << 14)
sent = bpf.Global[u64](0)

@bpf.tc
def count(skb: bpf.SkBuff) -> int:
    if numbers.output(Number(value=sent.value + 1)) != 0:
        return 1
    sent.value += 1
    return 0

path, total = sys.argv[1], int(sys.argv[2])
count.load()
numbers.pin(path)
print("ready", flush=True)
input()
while sent.value < total:
    count.run(bytes(64), repeat=50)
"""


def test_nothing_is_lost_between_processes(tmp_path: Path) -> None:
    path, total = f"/sys/fs/bpf/produced_{os.getpid()}", 100_000
    script = tmp_path / "producer.py"
    script.write_text(PRODUCER)
    producer = subprocess.Popen(
        [sys.executable, str(script), path, str(total)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert producer.stdin is not None and producer.stdout is not None
        assert producer.stdout.readline() == "ready\n"
        taken = bpf.open_pinned(path)
        assert isinstance(taken, EventStream)
        with taken:
            producer.stdin.write("\n")
            producer.stdin.flush()
            seen: list[int] = []
            deadline = time.monotonic() + 60
            while len(seen) < total and time.monotonic() < deadline:
                seen += [int.from_bytes(record, sys.byteorder) for record in taken.batch(5)]
        assert seen[:total] == list(range(1, total + 1))
    finally:
        producer.communicate()
        os.unlink(path)
