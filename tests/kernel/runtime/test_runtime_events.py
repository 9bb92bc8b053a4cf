"""Ring buffers and the trace pipe: every event arrives once, in order, and waiting ends."""

from __future__ import annotations

import errno
import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyebpf.backend.insn import Insn
from pyebpf.layout import U32, U64, struct_type
from pyebpf.object import DataSection, MapSpec, Relocation, RelocKind, Variable
from pyebpf.runtime.errors import BpfError
from pyebpf.runtime.events import RingBuf
from pyebpf.runtime.load import load
from pyebpf.runtime.program import LoadedProgram
from pyebpf.runtime.trace import trace_pipe, trace_print
from pyebpf.uapi.constants import MapType
from tests.kernel.runtime.objects import (
    FRAME,
    RINGBUF_OUTPUT,
    TRACE_PRINTK,
    add,
    address,
    an_object,
    call,
    copy,
    emits_to,
    exit_,
    mov,
    program,
    store_reg,
)
from tests.kernel.runtime.places import open_fds

RINGBUF_RESERVE, RINGBUF_DISCARD = 131, 133
PAIR = struct_type("pair", [("low", U32), ("high", U32)])


def counting_ring(size: int = 4096) -> tuple[MapSpec, DataSection, list[Insn], tuple[Relocation, ...]]:
    """A program that outputs 1, 2, 3, … and returns what the helper said; the number is taken only on
    success."""
    section = DataSection(".bss", bytearray(8), [Variable("sent", 0, 8, layout=U64)])
    insns = [
        address(6),
        Insn(0x79, 1, 6),
        add(1, 1),
        store_reg(10, -8, 1),
        address(1),
        copy(2, 10),
        add(2, -8),
        mov(3, 8),
        mov(4, 0),
        call(RINGBUF_OUTPUT),
        Insn(0x55, 0, offset=2, imm=0),
        Insn(0x79, 1, 10, -8),
        store_reg(6, 0, 1),
        exit_,
    ]
    relocations = (
        Relocation(0, RelocKind.DATA, "sent", ".bss"),
        Relocation(5, RelocKind.MAP, "ring"),
    )
    return MapSpec("ring", MapType.RINGBUF, 0, 0, size, value=U64), section, insns, relocations


@contextmanager
def counter(size: int = 4096) -> Iterator[tuple[RingBuf, LoadedProgram]]:
    """The loaded counting program and its ring."""
    ring, section, insns, relocations = counting_ring(size)
    spec = an_object(program(insns, relocations=relocations), maps=[ring])
    spec.data[".bss"] = section
    with load(spec) as loaded:
        found = loaded.maps["ring"]
        assert isinstance(found, RingBuf)
        yield found, loaded.programs["prog"]


def test_events_come_in_order_and_decoded() -> None:
    with counter() as (ring, program_):
        assert list(ring.poll(0)) == []
        program_.run(FRAME, repeat=5)
        assert list(ring.poll(0)) == [1, 2, 3, 4, 5]
        program_.run(FRAME)
        seen: list[int] = []
        assert ring.consume(seen.append) == 1
        assert seen == [6]
        program_.run(FRAME)
        ((pair),) = ring.poll(0, PAIR)
        assert (pair.low, pair.high) == ((7, 0) if sys.byteorder == "little" else (0, 7))


def test_a_ring_wraps_and_is_full() -> None:
    with counter() as (ring, program_):
        # 16 bytes for each record, so the ring is passed around many times.
        expected = 0
        for _ in range(50):
            program_.run(FRAME, repeat=100)
            got = list(ring.poll(0))
            assert got == list(range(expected + 1, expected + 101))
            expected += 100
        assert program_.run(FRAME, repeat=1000).verdict == -11
        got = list(ring.poll(0))
        assert got == list(range(expected + 1, expected + 1 + len(got)))
        assert 200 < len(got) <= 256


def test_waiting_ends_with_an_event_or_with_the_time() -> None:
    with counter() as (ring, program_):
        start = time.monotonic()
        assert list(ring.poll(0.15)) == []
        assert 0.14 < time.monotonic() - start < 1.0
        timer = threading.Timer(0.1, lambda: program_.run(FRAME))
        timer.start()
        events = ring.poll(5)
        start = time.monotonic()
        assert next(events) == 1
        assert time.monotonic() - start < 2.0
        timer.join()


def test_nothing_is_lost_between_threads() -> None:
    total = 20_000
    with counter(1 << 16) as (ring, program_):

        def produce() -> None:
            sent = 0
            while sent < total:
                sent += program_.run(FRAME).verdict == 0

        thread = threading.Thread(target=produce)
        thread.start()
        seen: list[int] = []
        for event in ring.poll(5):
            seen.append(event)
            if event == total:
                break
        thread.join()
        assert seen == list(range(1, total + 1))


def test_several_consumers_share_the_events() -> None:
    total = 5000
    with counter(1 << 17) as (ring, program_):
        seen: list[list[int]] = [[], []]
        threads = [threading.Thread(target=lambda n=n: seen[n].extend(ring.poll(0.3))) for n in (0, 1)]
        for thread in threads:
            thread.start()
        for _ in range(total // 100):
            program_.run(FRAME, repeat=100)
        for thread in threads:
            thread.join()
        assert sorted(seen[0] + seen[1]) == list(range(1, total + 1))
        assert seen[0] == sorted(seen[0]) and seen[1] == sorted(seen[1])


def test_epoll_tells_when_there_are_events() -> None:
    with counter() as (ring, program_):
        waiter = select.epoll()
        waiter.register(ring.fileno(), select.EPOLLIN)
        assert waiter.poll(0) == []
        for _ in range(3):
            program_.run(FRAME)
            assert waiter.poll(1) == [(ring.fileno(), select.EPOLLIN)]
            assert ring.consume(lambda event: None) == 1
            assert waiter.poll(0) == []
        waiter.close()


def test_discarded_records_are_passed_over() -> None:
    insns = [
        address(1),
        mov(2, 24),
        mov(3, 0),
        call(RINGBUF_RESERVE),
        Insn(0x15, 0, offset=3, imm=0),
        copy(1, 0),
        mov(2, 0),
        call(RINGBUF_DISCARD),
        mov(0, 0),
        exit_,
    ]
    discards = program(insns, name="discards", relocations=(Relocation(0, RelocKind.MAP, "ring"),))
    ring_spec = MapSpec("ring", MapType.RINGBUF, 0, 0, 4096)
    with load(an_object(discards, emits_to("ring", 77), maps=[ring_spec])) as loaded:
        ring = loaded.maps["ring"]
        assert isinstance(ring, RingBuf)
        for name in ("discards", "prog", "discards", "discards", "prog"):
            loaded.programs[name].run(FRAME)
        value = (77).to_bytes(8, sys.byteorder)
        assert list(ring.poll(0)) == [value, value]
        assert list(ring.poll(0)) == []


def test_an_exception_of_the_callback_takes_one_event() -> None:
    with counter() as (ring, program_):
        program_.run(FRAME, repeat=3)

        def fails(event: int) -> None:
            raise RuntimeError(event)

        with pytest.raises(RuntimeError, match="1"):
            ring.consume(fails)
        assert list(ring.poll(0)) == [2, 3]


def test_a_record_shorter_than_the_layout_is_an_error() -> None:
    long = struct_type("long", [("a", U64), ("b", U64)])
    with counter() as (ring, program_):
        program_.run(FRAME)
        with pytest.raises(ValueError, match="a record of 8 bytes in 'ring', where events have 16"):
            list(ring.poll(0, long))


def test_a_closed_ring_gives_its_memory_back() -> None:
    before = open_fds()
    with counter() as (ring, program_):
        program_.run(FRAME)
        assert list(ring.poll(0)) == [1]
        maps = Path("/proc/self/maps").read_text()
        assert "bpf-map" in maps or "bpf_map" in maps
        ring.close()
        ring.close()
        with pytest.raises(ValueError, match="closed"):
            list(ring.poll(0))
    assert open_fds() == before


def printing(text: bytes) -> LoadedProgram:
    """A program that prints ``text`` with its packet length."""
    section = DataSection(".rodata", bytearray(text + b"\0"), [Variable("text", 0, len(text) + 1)])
    insns = [address(1), mov(2, len(text) + 1), mov(3, 42), call(TRACE_PRINTK), mov(0, 0), exit_]
    spec = an_object(program(insns, relocations=(Relocation(0, RelocKind.DATA, "text", ".rodata"),)))
    spec.data[".rodata"] = section
    return load(spec).programs["prog"]


@pytest.mark.alone("trace pipe")
def test_printed_lines_are_read() -> None:
    word = f"runtime test {os.getpid()}"
    list(trace_print(0))
    with printing(f"{word} %d".encode()) as program_:
        pipe = trace_print(0.5)
        timer = threading.Timer(0.05, lambda: program_.run(FRAME, repeat=3))
        timer.start()
        lines = [line for line in pipe if word in line]
        timer.join()
    assert len(lines) == 3
    assert all(line.endswith(f"bpf_trace_printk: {word} 42") for line in lines)


def is_busy(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError as found:
        return found.errno == errno.EBUSY
    return False


@pytest.mark.alone("trace pipe")
def test_a_second_reader_of_the_trace_pipe_is_told_of_the_first() -> None:
    with open(trace_pipe(), "rb"):
        if not is_busy(trace_pipe()):
            pytest.skip("this kernel admits several readers of the trace pipe")
        with pytest.raises(BpfError, match=r"EBUSY.*somebody else reads it.*takes one reader"):
            trace_print(0)
    list(trace_print(0))


@pytest.mark.alone("trace pipe")
def test_the_trace_pipe_ends_with_the_time_and_closes() -> None:
    trace_pipe()
    before = open_fds()
    start = time.monotonic()
    list(trace_print(0.1))
    assert time.monotonic() - start < 2
    lines = trace_print()
    del lines
    assert open_fds() == before


def test_a_missing_trace_file_system_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyebpf.runtime import tracefs

    monkeypatch.setattr(tracefs, "ROOTS", ("/sys/kernel/no_such_place",))
    with pytest.raises(
        BpfError, match=r"not mounted at /sys/kernel/no_such_place.*mounting it failed: ENOENT"
    ):
        list(trace_print(0))
