"""Consumers of events that are closed, interrupted or outrun: they end, and what was not handed out stays."""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pyebpf.layout import U64
from pyebpf.object import MapSpec
from pyebpf.runtime.events import EventStream
from pyebpf.runtime.events_together import poll
from pyebpf.runtime.memory import SharedMemory
from pyebpf.runtime.perf_events import PerfEventArray
from pyebpf.runtime.record_batches import event_codec
from pyebpf.runtime.vm.environment import Environment
from pyebpf.runtime.vm.maps import make_map
from pyebpf.runtime.vm.maps_perf import PerfMap
from pyebpf.runtime.vm.maps_ring import RingMap
from pyebpf.runtime.vm.maps_user import present_map
from pyebpf.runtime.vm.memory import Memory
from pyebpf.uapi.constants import BPF_F_CURRENT_CPU, MapType
from tests.kernel.runtime.objects import FRAME
from tests.kernel.runtime.places import open_fds
from tests.kernel.runtime.test_runtime_events import PAIR, counter
from tests.kernel.runtime.test_runtime_streams import both, on_one_cpu, perf_counter


@both
def test_closing_ends_a_loop_that_is_busy(stream_of) -> None:  # type: ignore[no-untyped-def]  # either
    async def task(stream: EventStream) -> list[int]:
        return [close(stream, event) async for event in stream]

    def close(stream: EventStream, event: int) -> int:
        thread = threading.Thread(target=stream.close)
        thread.start()
        thread.join()
        return event

    loops: list[Callable[[EventStream], list[int]]] = [
        lambda stream: [close(stream, event) for event in stream],
        lambda stream: [close(stream, event) for event in stream.poll(0)],
        lambda stream: [close(stream, event) for _, event in poll(stream)],
        lambda stream: asyncio.run(task(stream)),
        lambda stream: [1] * stream.consume(lambda event: close(stream, event)),
    ]
    for loop in loops:
        with on_one_cpu(), stream_of() as (stream, program_):
            program_.run(FRAME, repeat=3)
            assert loop(stream) == [1]


def closing_first(stream: EventStream, real: Callable[..., Any]) -> Callable[..., Any]:
    def late(*args: Any, **more: Any) -> Any:
        stream.close()
        return real(*args, **more)

    return late


@both
def test_closing_right_before_a_loop_waits_ends_it(stream_of) -> None:  # type: ignore[no-untyped-def]  # either
    async def task(stream: EventStream) -> list[int]:
        return [event async for event in stream]

    loops: list[Callable[[EventStream], list[int]]] = [
        list,
        lambda stream: [event for _, event in poll(stream)],
        lambda stream: asyncio.run(task(stream)),
    ]
    for loop in loops:
        with stream_of() as (stream, _):
            for name in ("wait", "listen"):
                setattr(stream._source, name, closing_first(stream, getattr(stream._source, name)))
            assert loop(stream) == []


# ---------------------------------------------------------------- interrupted


@contextmanager
def kernels(counter_: Callable[[], Any]) -> Iterator[tuple[EventStream, Callable[[int], object]]]:
    with on_one_cpu(), counter_() as (stream, program_):
        yield stream, lambda count: program_.run(FRAME, repeat=count)


@contextmanager
def machines(map_type: MapType) -> Iterator[tuple[EventStream, Callable[[int], object]]]:
    """A stream of the machine and what sends 1, 2, 3, … through it."""
    size, pair = (4096, (0, 0)) if map_type is MapType.RINGBUF else (2, (4, 4))
    made = make_map(MapSpec("events", map_type, *pair, size, value=U64), Memory(), Environment(cpus=2))
    assert isinstance(made, RingMap | PerfMap)
    stream = present_map(made)
    assert isinstance(stream, EventStream)
    stream.read_all()
    flags = BPF_F_CURRENT_CPU if isinstance(made, PerfMap) else 0
    sent = 0

    def send(count: int) -> None:
        nonlocal sent
        for _ in range(count):
            sent += 1
            made.output(sent.to_bytes(8, sys.byteorder), flags)

    yield stream, send


ALL = {
    "ring": lambda: kernels(counter),
    "perf": lambda: kernels(perf_counter),
    "ring of the machine": lambda: machines(MapType.RINGBUF),
    "perf of the machine": lambda: machines(MapType.PERF_EVENT_ARRAY),
}
everywhere = pytest.mark.parametrize("stream_of", ALL.values(), ids=ALL.keys())


class Interruption(Exception):
    """As a signal handler raises it."""


def interrupted(at: int, work: Callable[[], object]) -> bool:
    """Whether ``work`` was still running when it was interrupted at the ``at``-th place where signal handlers run: at
    the start of a function, and behind a call of one in C."""
    places = 0

    def profile(frame: types.FrameType, event: str, what: object) -> None:
        nonlocal places
        places += event in ("call", "c_return")
        if places > at:
            sys.setprofile(None)
            raise Interruption

    sys.setprofile(profile)
    try:
        work()
    except Interruption:
        return True
    finally:
        sys.setprofile(None)
    return False


@everywhere
def test_an_interruption_at_any_place_loses_nothing(stream_of) -> None:  # type: ignore[no-untyped-def]  # any
    with stream_of() as (stream, send):
        at = total = 0
        busy = True
        while busy:
            send(5)
            seen = [next(stream.poll(0)), next(stream.poll(0))]
            found: list[Any] = []
            send(2)
            busy = interrupted(at, functools.partial(stream.consume, found.append, PAIR))
            seen += [pair.low if sys.byteorder == "little" else pair.high for pair in found]
            seen += stream.read_all()
            assert seen == list(range(total + 1, total + 8)), at
            total += 7
            at += 1
        assert at > 20


@everywhere
def test_what_makes_no_array_stays(stream_of, monkeypatch) -> None:  # type: ignore[no-untyped-def]  # any
    def interrupt(self: object, batches: object) -> None:
        raise Interruption

    with stream_of() as (stream, send):
        send(5)
        assert next(stream.poll(0)) == 1
        monkeypatch.setattr(type(event_codec(None)), "array", interrupt)
        with pytest.raises(Interruption):
            stream.numpy()
        assert stream.read_all() == [2, 3, 4, 5]


def test_losses_are_told_before_events_are_handed_out() -> None:
    def told(count: int) -> None:
        assert events.lost == count  # it may use the stream
        raise Interruption

    with on_one_cpu(), perf_counter(pages=1) as (events, program_):
        events.on_lost = told
        program_.run(FRAME, repeat=1000)
        kept = len(events.read_all())
        program_.run(FRAME, repeat=3)
        with pytest.raises(Interruption):
            events.read_all()
        assert events.lost == 1000 - kept
        assert events.read_all() == [1001, 1002, 1003]


# ---------------------------------------------------------------- outrun


@everywhere
def test_what_is_there_has_an_end_where_programs_are_as_fast(stream_of) -> None:  # type: ignore[no-untyped-def]  # any
    with stream_of() as (stream, send):
        ways: list[Callable[[], Iterator[Any]]] = [
            lambda: stream.poll(0),
            lambda: poll(stream, timeout=0),
        ]
        for way in ways:
            send(1)
            for _ in way():
                send(1)
        send(1)
        assert 0 < stream.consume(lambda event: send(1)) < 100_000
        assert stream.read_all()


def test_a_machine_with_several_cpus_gives_all_that_is_there() -> None:
    with machines(MapType.PERF_EVENT_ARRAY) as (stream, send):
        made = stream.backing.map  # type: ignore[attr-defined]  # of the machine
        room = stream.use().size
        for made.environment.cpu in range(2):
            send(room // 2 // 24)
        assert len(stream.read_all()) > room // 24 - 4


@both
def test_a_batch_of_none_is_refused(stream_of) -> None:  # type: ignore[no-untyped-def]  # either
    with stream_of() as (stream, _):
        for limit in (0, -1):
            with pytest.raises(ValueError, match="1 event or more"):
                stream.batch(limit=limit)


def test_a_perf_buffer_is_taken_in_parts() -> None:
    with on_one_cpu(), perf_counter(pages=64) as (events, program_):
        program_.run(FRAME, repeat=10_000)
        source = events.open()
        source.grab(100)
        source.grab(1)
        assert [batch.count for batch in source.taken] == [5, 1]
        assert events.read_all() == list(range(1, 10_001))


# ---------------------------------------------------------------- opened and closed


def test_threads_that_begin_together_open_one_source(monkeypatch: pytest.MonkeyPatch) -> None:
    with perf_counter() as (events, _):
        events._opened.close()  # type: ignore[union-attr]  # is opened again
        events._opened = None
        real = type(events.backing).perf_records
        both_here = threading.Barrier(2)

        def slow(self: Any, pages: int, wakeup: int) -> Any:
            with pytest.raises(threading.BrokenBarrierError):
                both_here.wait(0.1)
            return real(self, pages, wakeup)

        monkeypatch.setattr(type(events.backing), "perf_records", slow)
        found: list[object] = []
        threads = [threading.Thread(target=lambda: found.append(events.open())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 2 and found[0] is found[1]


def test_what_cannot_be_unmapped_keeps_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    real = SharedMemory.close

    def failing(self: SharedMemory) -> None:
        real(self)
        raise OSError("broken")

    before = open_fds()
    with perf_counter() as (events, _):
        assert isinstance(events, PerfEventArray)
        source = events.open()
        monkeypatch.setattr(SharedMemory, "close", failing)
        with pytest.raises(OSError, match="broken"):
            source.close()
        monkeypatch.undo()
    assert open_fds() == before
