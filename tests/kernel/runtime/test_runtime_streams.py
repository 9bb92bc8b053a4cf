"""Streams of events from running programs: batches, arrays, tasks, several at once, perf buffers, stacks."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyebpf.backend.insn import Insn
from pyebpf.layout import U32, U64, struct_type
from pyebpf.object import DataSection, MapSpec, Relocation, RelocKind, Variable
from pyebpf.runtime.cpus import online_cpus
from pyebpf.runtime.errors import BpfError, LostEvents, PermissionDenied
from pyebpf.runtime.events import EventStream
from pyebpf.runtime.events_together import poll
from pyebpf.runtime.load import LoadedProgram, load
from pyebpf.runtime.perf_events import PerfEventArray
from pyebpf.runtime.perf_memory import PerfMemory
from pyebpf.runtime.perf_open import open_output
from pyebpf.runtime.stacks import StackTrace
from pyebpf.uapi.constants import MapType, ProgType
from tests.kernel.runtime.objects import (
    FRAME,
    add,
    address,
    an_object,
    call,
    copy,
    exit_,
    mov,
    program,
    store_reg,
)
from tests.kernel.runtime.places import open_fds
from tests.kernel.runtime.test_runtime_events import PAIR, counter

PERF_EVENT_OUTPUT, GET_STACKID = 25, 27


@contextmanager
def perf_counter(pages: int = 8, wakeup: int = 1) -> Iterator[tuple[PerfEventArray, LoadedProgram]]:
    """A program that outputs 1, 2, 3, … to the perf buffer of its CPU and returns what the helper said; the number is
    taken even if there was no room."""
    section = DataSection(".bss", bytearray(8), [Variable("sent", 0, 8, layout=U64)])
    insns = [
        copy(7, 1),
        address(6),
        Insn(0x79, 8, 6),
        add(8, 1),
        store_reg(6, 0, 8),
        store_reg(10, -8, 8),
        copy(1, 7),
        address(2),
        mov(3, -1),
        Insn(0x67, 3, imm=32),
        Insn(0x77, 3, imm=32),
        copy(4, 10),
        add(4, -8),
        mov(5, 8),
        call(PERF_EVENT_OUTPUT),
        exit_,
    ]
    relocations = (
        Relocation(1, RelocKind.DATA, "sent", ".bss"),
        Relocation(8, RelocKind.MAP, "events"),
    )
    events = MapSpec("events", MapType.PERF_EVENT_ARRAY, 4, 4, 0, value=U64)
    spec = an_object(program(insns, ProgType.SCHED_CLS, relocations=relocations), maps=[events])
    spec.data[".bss"] = section
    with load(spec) as loaded:
        found = loaded.maps["events"]
        assert isinstance(found, PerfEventArray)
        found.open(pages, wakeup)
        yield found, loaded.programs["prog"]


both = pytest.mark.parametrize("stream_of", [counter, perf_counter], ids=["ring", "perf"])


@contextmanager
def on_one_cpu() -> Iterator[None]:
    """Perf buffers of one CPU have an order."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@both
def test_every_way_gives_the_same_events(stream_of) -> None:  # type: ignore[no-untyped-def]  # either context manager
    with on_one_cpu(), stream_of() as (stream, program_):
        program_.run(FRAME, repeat=10)
        assert stream.batch(limit=3) == [1, 2, 3]
        first = next(stream.poll(0))
        assert first == 4
        pair = next(stream.poll(0, PAIR))
        assert (pair.low if sys.byteorder == "little" else pair.high) == 5
        seen: list[int] = []

        def until_seven(event: int) -> None:
            seen.append(event)
            if event == 7:
                raise KeyError(event)

        with pytest.raises(KeyError):
            stream.consume(until_seven)
        assert seen == [6, 7]
        assert stream.read_all() == [8, 9, 10]
        assert stream.read_all() == [] and stream.batch(0) == []
        use = stream.use()
        assert use.waiting == 0 and use.produced == use.consumed > 0 and use.size >= 4096


@both
def test_what_another_layout_takes_is_gone_for_all(stream_of) -> None:  # type: ignore[no-untyped-def]  # either
    with on_one_cpu(), stream_of() as (stream, program_):
        program_.run(FRAME, repeat=6)
        plain, paired = stream.poll(0), stream.poll(0, PAIR)
        order = [next(plain), next(paired).low, next(plain), next(paired).low]
        assert order == [1, 2, 3, 4]
        assert next(paired).low == 5 and list(plain) == [6]


@both
def test_arrays(stream_of) -> None:  # type: ignore[no-untyped-def]  # either
    numpy = pytest.importorskip("numpy")
    with on_one_cpu(), stream_of() as (stream, program_):
        assert len(stream.numpy()) == 0
        program_.run(FRAME, repeat=5)
        assert next(stream.poll(0)) == 1
        array = stream.numpy()
        assert array.dtype == numpy.uint64 and array.tolist() == [2, 3, 4, 5]
        program_.run(FRAME, repeat=2)
        assert stream.numpy(PAIR)["low"].tolist() == [6, 7]
        threading.Timer(0.1, lambda: program_.run(FRAME)).start()
        assert stream.numpy(timeout=5).tolist() == [8]
        with pytest.raises(ValueError, match="a record of"):
            program_.run(FRAME)
            stream.numpy(struct_type("long", [("a", U64), ("b", U64)]))


@both
def test_a_task_takes_events_and_may_be_cancelled(stream_of) -> None:  # type: ignore[no-untyped-def]  # either
    async def main(stream: EventStream, program_: LoadedProgram) -> list[int]:
        seen: list[int] = []

        async def take() -> None:
            async for event in stream:
                seen.append(event)

        ticks = 0
        sent = 0
        for _ in range(5):
            task = asyncio.create_task(take())
            for _ in range(4):
                await asyncio.sleep(0.005)
                program_.run(FRAME, repeat=3)
                sent += 3
                ticks += 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        seen += stream.read_all()
        assert ticks == 20
        # A waiting task costs nothing.
        task = asyncio.create_task(take())
        before = time.process_time()
        await asyncio.sleep(0.3)
        assert time.process_time() - before < 0.1
        program_.run(FRAME)
        await asyncio.sleep(0.05)
        assert seen[-1] == sent + 1
        stream.close()
        await asyncio.wait_for(task, 2)
        return seen

    fds = open_fds()
    with on_one_cpu(), stream_of() as (stream, program_):
        seen = asyncio.run(main(stream, program_))
        assert seen == list(range(1, 62))
    assert open_fds() == fds


def test_tasks_share_a_stream() -> None:
    async def main() -> None:
        with counter(1 << 16) as (ring, program_):
            seen: list[list[int]] = [[], []]

            async def take(number: int) -> None:
                async for event in ring:
                    seen[number].append(event)
                    await asyncio.sleep(0)

            tasks = [asyncio.create_task(take(number)) for number in range(2)]
            for _ in range(20):
                program_.run(FRAME, repeat=10)
                await asyncio.sleep(0.002)
            await asyncio.sleep(0.05)
            for task in tasks:
                task.cancel()
            assert sorted(seen[0] + seen[1]) == list(range(1, 201))
            assert seen[0] and seen[1]

    asyncio.run(main())


def test_several_streams_together() -> None:
    with counter() as (first, one), perf_counter() as (second, two):
        assert list(poll(first, second, timeout=0)) == []
        one.run(FRAME, repeat=2)
        two.run(FRAME, repeat=3)
        found = list(poll(first, second, timeout=0))
        assert [event for stream, event in found if stream is first] == [1, 2]
        assert sorted(event for stream, event in found if stream is second) == [1, 2, 3]
        for program_, stream, event in ((two, second, 4), (one, first, 3)):
            timer = threading.Timer(0.05, lambda program_=program_: program_.run(FRAME))
            timer.start()
            start = time.monotonic()
            assert next(poll(first, second, timeout=5)) == (stream, event)
            assert time.monotonic() - start < 2
            timer.join()
    with pytest.raises(ValueError, match="at least one"):
        poll(timeout=0)


@both
def test_closing_ends_a_loop_that_waits(stream_of) -> None:  # type: ignore[no-untyped-def]  # either
    with stream_of() as (stream, program_):
        program_.run(FRAME)
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.extend(stream))
        thread.start()
        time.sleep(0.1)
        stream.close()
        thread.join(2)
        assert not thread.is_alive() and seen == [1]
        for use in (stream.read_all, stream.use, stream.fileno, lambda: next(iter(stream))):
            with pytest.raises(ValueError, match=r"closed|no longer mapped"):
                use()


@both
def test_a_signal_handler_runs_and_its_exception_ends_the_wait(stream_of) -> None:  # type: ignore[no-untyped-def]  # either
    def handler(number: int, frame: object) -> None:
        raise InterruptedError(number)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with stream_of() as (stream, program_):
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            start = time.monotonic()
            with pytest.raises(InterruptedError):
                next(iter(stream))
            assert time.monotonic() - start < 2
            program_.run(FRAME)
            assert stream.read_all() == [1]
    finally:
        signal.signal(signal.SIGALRM, before)


def test_interruptions_anywhere_lose_nothing() -> None:
    """A handler that raises interrupts the consumer again and again; each event is seen once."""

    class Interruption(Exception):
        pass

    def handler(number: int, frame: types.FrameType | None) -> None:
        while frame is not None:
            if frame.f_code.co_name == "consume":
                raise Interruption
            frame = frame.f_back

    total = 60_000
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with counter(1 << 22) as (ring, program_):
            program_.run(FRAME, repeat=total)
            seen: list[int] = []
            interruptions = 0
            signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
            while True:
                try:
                    # ``append`` is the loop's only call, so an event is either in the list or not taken.
                    ring.consume(seen.append)
                    break
                except Interruption:
                    interruptions += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert interruptions
            assert seen == list(range(1, total + 1))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_ring_is_consumed_in_batches_while_a_program_fills_it() -> None:
    total = 30_000
    with counter(1 << 14) as (ring, program_):

        def produce() -> None:
            sent = 0
            while sent < total:
                sent += program_.run(FRAME).verdict == 0

        thread = threading.Thread(target=produce)
        thread.start()
        seen: list[int] = []
        while len(seen) < total and (batch := ring.batch(5)):
            seen += batch
        thread.join()
        assert seen == list(range(1, total + 1))


# ---------------------------------------------------------------- perf buffers


def test_perf_buffers_wrap_and_tell_what_was_lost() -> None:
    with on_one_cpu(), perf_counter(pages=1) as (events, program_):
        sent = 0
        for _ in range(40):
            program_.run(FRAME, repeat=100)
            assert events.read_all() == list(range(sent + 1, sent + 101))
            sent += 100
        assert events.lost == 0
        program_.run(FRAME, repeat=1000)
        kept = len(events.read_all())
        assert kept == 4095 // 24
        program_.run(FRAME)
        with pytest.warns(LostEvents, match=f"{1000 - kept} events of 'events' were lost"):
            assert events.read_all() == [sent + 1001]
        assert events.lost == 1000 - kept
        told: list[int] = []
        events.on_lost = told.append
        program_.run(FRAME, repeat=1000)
        events.read_all()
        program_.run(FRAME)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            events.read_all()
        assert told == [1000 - kept]


def test_a_perf_consumer_is_woken_after_so_many_records() -> None:
    with on_one_cpu(), perf_counter(wakeup=10) as (events, program_):
        program_.run(FRAME, repeat=3)
        assert not events.open().wait(0.05)
        program_.run(FRAME, repeat=7)
        assert events.open().wait(1)
        assert events.read_all() == list(range(1, 11))
        program_.run(FRAME, repeat=3)
        assert list(events.poll(0.05)) == [11, 12, 13]


def test_perf_events_as_bytes_are_padded() -> None:
    with on_one_cpu(), perf_counter() as (events, program_):
        program_.run(FRAME)
        events._codec = type(events._codec)(None)
        assert events.read_all() == [(1).to_bytes(8, sys.byteorder) + bytes(4)]


def test_perf_buffers_leave_nothing_behind() -> None:
    before = open_fds()
    with perf_counter() as (events, program_):
        program_.run(FRAME)
        opened = events.open()
        assert opened is events.open()
        events.close()
        events.close()
        assert program_.run(FRAME).verdict == -2  # ENOENT: the slots are empty again
        maps = Path("/proc/self/maps").read_text()
        assert "perf_event" not in maps
    assert open_fds() == before


def cpus_of(events: PerfEventArray) -> list[int]:
    source = events.open()
    assert isinstance(source, PerfMemory)
    return [buffer.cpu for buffer in source._buffers]


def test_offline_cpus_have_no_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyebpf.runtime import perf_memory

    online = online_cpus()
    monkeypatch.setattr(perf_memory, "online_cpus", lambda: [*online, 4000])
    with perf_counter() as (events, _):
        assert cpus_of(events) == online
    real = open_output
    monkeypatch.setattr(
        perf_memory, "open_output", lambda cpu, *rest: None if cpu == online[-1] else real(cpu, *rest)
    )
    with perf_counter() as (events, _):
        assert cpus_of(events) == online[:-1]


def test_wrong_sizes_of_perf_buffers() -> None:
    before = open_fds()
    for pages, wakeup in ((3, 1), (0, 1), (8, 0)):
        with pytest.raises(ValueError, match=r"power of two|1 record or more"), perf_counter(pages, wakeup):
            pass
    message = r"cannot open the perf buffer 'events'.*pages for CPU"
    with pytest.raises(BpfError, match=message), perf_counter(1 << 40):
        pass
    assert open_fds() == before


def test_a_denied_perf_buffer_names_the_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyebpf.runtime import perf_open

    def denied(*args: object) -> int:
        import ctypes

        ctypes.set_errno(1)
        return -1

    monkeypatch.setattr(perf_open, "_libc", lambda phase: denied)
    monkeypatch.setattr("pyebpf.runtime.privilege.effective_capabilities", lambda: 1 << 39)
    with pytest.raises(PermissionDenied, match="CAP_PERFMON"), perf_counter():
        pass


def test_a_counter_goes_into_a_slot() -> None:
    with perf_counter() as (events, _):
        events.close()
    spec = MapSpec("plain", MapType.PERF_EVENT_ARRAY, 4, 4, 0)
    with load(an_object(maps=[spec])) as loaded:
        array = loaded.maps["plain"]
        assert isinstance(array, PerfEventArray)
        event = open_output(0, 1, "")
        assert event is not None
        with event:
            array[0] = event
            del array[0]
            with pytest.raises(KeyError):
                del array[0]


# ---------------------------------------------------------------- processes


CONSUMER = """
    import sys
    from pyebpf.runtime.map_kinds import map_of
    from pyebpf.runtime.pin import open_fd
    with map_of(open_fd(sys.argv[1])) as stream:
        if hasattr(stream, "open"):
            stream.open()
        print("ready", flush=True)
        for event in stream:
            print(int.from_bytes(event[:8], sys.byteorder), flush=True)
"""


@both
def test_a_killed_consumer_leaves_nothing_behind(stream_of, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # either
    path = f"/sys/fs/bpf/streams_{os.getpid()}"
    with on_one_cpu(), stream_of() as (stream, program_):
        if isinstance(stream, PerfEventArray):
            stream._opened.close()  # type: ignore[union-attr]  # the consumer makes its own buffers
            stream._opened = None
        stream.pin(path)
        try:
            consumer = subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(CONSUMER), path], stdout=subprocess.PIPE, text=True
            )
            assert consumer.stdout is not None
            assert consumer.stdout.readline() == "ready\n"
            program_.run(FRAME, repeat=3)
            assert [consumer.stdout.readline() for _ in range(3)] == ["1\n", "2\n", "3\n"]
            consumer.kill()
            consumer.wait()
            consumer.stdout.close()
            result = program_.run(FRAME).verdict
            if isinstance(stream, PerfEventArray):
                assert result == -2  # ENOENT: its events left the map with it
            else:
                assert result == 0 and stream.read_all() == [4]
        finally:
            os.unlink(path)


def test_a_forked_process_closes_without_harm() -> None:
    with on_one_cpu(), perf_counter() as (events, program_):
        child = os.fork()
        if not child:
            events.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert program_.run(FRAME).verdict == 0
        assert events.read_all() == [1]


# ---------------------------------------------------------------- stacks


def test_stacks_are_addresses() -> None:
    insns = [address(2), mov(3, 0), call(GET_STACKID), exit_]
    relocations = (Relocation(0, RelocKind.MAP, "stacks"),)
    spec = MapSpec("stacks", MapType.STACK_TRACE, 4, 8 * 20, 64, key=U32)
    records = program(insns, ProgType.RAW_TRACEPOINT, relocations=relocations)
    with load(an_object(records, maps=[spec])) as loaded:
        stacks = loaded.maps["stacks"]
        assert isinstance(stacks, StackTrace)
        number = loaded.programs["prog"].run(ctx=bytes(16)).verdict
        assert number < 64  # errors are large: verdicts have no sign
        found = stacks[number]
        symbols = [
            (int(line.split()[0], 16), line.split()[2])
            for line in Path("/proc/kallsyms").read_text().splitlines()
            if line.split()[1] in "tT"
        ]
        assert 1 < len(found) <= 20 and all(address > 1 << 63 for address in found)
        names = [max((s for s in symbols if s[0] <= address), default=(0, ""))[1] for address in found]
        assert any("bpf" in name for name in names), names
        assert list(stacks) == [number] and dict(stacks) == {number: found}
        with pytest.raises(KeyError, match="-14 is no id of a stack: get_stackid failed with EFAULT"):
            stacks[-14]
        with pytest.raises(TypeError, match="only reads"):
            stacks[number] = found
        del stacks[number]
        assert list(stacks) == [] and stacks.get(number) is None
