"""How fast events come out of programs: ``python -m benchmarks.events`` (as root).

A tc program fills a ring buffer, then only the consumer's time is taken, of all events at once: that is the most that a
consumer can do. Every way of pyebpf, BCC's consumer in the interpreter that has BCC, and for comparison a plain copy of
the same bytes take turns. Seconds are those of the processor, and of the rounds the best one counts, since other load
only makes a round slower. Every consumer adds a field of all events up, so that the values are used.

Then programs produce events at named rates in another process, and what does not fit is counted; here the load of the
machine takes part.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pyebpf as bpf
from pyebpf import u16, u32, u64

bpf.license("GPL")

FRAME = bytes(64)
BPFFS = Path("/sys/fs/bpf")


@bpf.struct
class Event:
    """What a packet filter may report; 24 bytes, 32 with the header."""

    time: u64
    length: u32
    source: u16
    destination: u16
    start: bytes = bpf.chars(8)


RECORD = 32

events = bpf.RingBuf[Event](1 << 25)
stream = bpf.RingBuf[Event](1 << 20)
per_cpu = bpf.PerfEventArray[Event](pages=4096)
lost = bpf.Global[u64](0)


@bpf.tc
def fill(skb: bpf.SkBuff) -> int:
    """One event."""
    with events.reserve(Event) as event:
        if event is None:
            return 1
        event.time = bpf.ktime_get_ns()
        event.length = len(skb)
        event.source = 1000
        event.destination = 53
        event.start = b"abcdef"
    return 0


@bpf.tc
def fill_perf(skb: bpf.SkBuff) -> int:
    """One event through the buffer of this CPU."""
    event = Event(bpf.ktime_get_ns(), len(skb), 1000, 53, b"abcdef")
    return int(per_cpu.output(skb, event) < 0)


@bpf.tc
def produce(skb: bpf.SkBuff) -> int:
    """One event, which is counted if it is lost."""
    with stream.reserve(Event) as event:
        if event is None:
            lost.value += 1
            return 1
        event.time = bpf.ktime_get_ns()
        event.length = len(skb)
    return 0


def by_callback() -> int:
    """``consume``."""
    total = 0

    def callback(event: Event) -> None:
        nonlocal total
        total += event.length

    events.consume(callback)
    return total


def by_iteration() -> int:
    """``poll``."""
    total = 0
    for event in events.poll():
        total += event.length
    return total


def by_list() -> int:
    """``read_all``."""
    return sum([event.length for event in events.read_all()])


def by_numpy() -> int:
    """``numpy``."""
    return int(events.numpy()["length"].sum())


def by_perf_callback() -> int:
    """``consume`` of a perf event array."""
    total = 0

    def callback(event: Event) -> None:
        nonlocal total
        total += event.length

    per_cpu.consume(callback)
    return total


def by_perf_numpy() -> int:
    """``numpy`` of a perf event array."""
    return int(per_cpu.numpy()["length"].sum())


def by_copy(count: int) -> None:
    """Copy as many bytes as the events take, of memory that nobody decodes."""
    ctypes.string_at(_plain_memory(), count * RECORD)


_memory: list[ctypes.Array[ctypes.c_char]] = []


def _plain_memory() -> int:
    if not _memory:
        _memory.append(ctypes.create_string_buffer(b"x" * (1 << 25), 1 << 25))
    return ctypes.addressof(_memory[0])


class Bcc:
    """BCC's consumer in a process of its own, over the pinned ring buffer."""

    def __init__(self, python: str) -> None:
        self.pin = BPFFS / f"pyebpf_events_{os.getpid()}"
        self.why = ""
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # `close` closes it
        self._running = contextlib.ExitStack()
        self._running.callback(self._errors.close)
        with self._running:
            events.pin(str(self.pin))
            self._running.callback(self.pin.unlink)
            script = str(Path(__file__).with_name("events_bcc.py"))
            self.process = subprocess.Popen(
                [python, "-I", script, str(self.pin)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
            )
            self._running.callback(self.process.communicate)
            if self._line() != "ready":
                self.process.wait()
                self._errors.seek(0)
                self.why = (self._errors.read().strip().splitlines() or ["it said nothing"])[-1]
            self._running = self._running.pop_all()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def consume(self, count: int) -> float:
        """Seconds for all events that are there."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        found, _, seconds = self._line().partition(" ")
        if found != str(count):
            raise SystemExit(f"BCC took {found or 'no'} events of {count}")
        return float(seconds)

    def close(self) -> None:
        """End the process and unpin the map."""
        self._running.close()


def timed(consume: Callable[[], int], count: int) -> float:
    """Seconds for ``count`` events of 64 bytes."""
    start = time.process_time()
    total = consume()
    seconds = time.process_time() - start
    if total != count * len(FRAME):
        raise SystemExit(f"{consume.__doc__} saw {total / len(FRAME)} events of {count}")
    return seconds


def compare(count: int, rounds: int, python: str) -> None:
    """Print events per second of all ways, and each as a multiple of BCC's."""
    ways: dict[str, tuple[bpf.TcProgram | None, Callable[[], float]]] = {
        "plain copy of the bytes": (None, lambda: _copied(count)),
        "pyebpf ring buffer, callback": (fill, lambda: timed(by_callback, count)),
        "pyebpf ring buffer, for loop": (fill, lambda: timed(by_iteration, count)),
        "pyebpf ring buffer, list": (fill, lambda: timed(by_list, count)),
        "pyebpf ring buffer, numpy": (fill, lambda: timed(by_numpy, count)),
        "pyebpf perf buffer, callback": (fill_perf, lambda: timed(by_perf_callback, count)),
        "pyebpf perf buffer, numpy": (fill_perf, lambda: timed(by_perf_numpy, count)),
    }
    bcc = Bcc(python)
    try:
        if bcc.why:
            print(f"BCC is not measured: {bcc.why}")
        else:
            ways["BCC ring buffer, callback"] = (fill, lambda: bcc.consume(count))
        best = dict.fromkeys(ways, float("inf"))
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one perf buffer has room for all
        for _ in range(rounds):
            for name, (filler, way) in ways.items():
                if filler is not None and filler.run(FRAME, repeat=count).verdict:
                    raise SystemExit(f"{count} events do not fit")
                best[name] = min(best[name], way())
    finally:
        bcc.close()
    base = best.get("BCC ring buffer, callback")
    print(
        f"{count} events of {RECORD} bytes with header, best of {rounds} rounds, load {os.getloadavg()[0]:.1f}"
    )
    for name, seconds in best.items():
        ratio = f"{base / max(seconds, 1e-9):8.1f} x BCC" if base is not None else ""
        print(f"{name:32}{count / max(seconds, 1e-9) / 1e6:10.2f} M/s{ratio}")


def _copied(count: int) -> float:
    start = time.process_time()
    by_copy(count)
    return time.process_time() - start


def losses(rates: list[int], seconds: float) -> None:
    """Print how many events are lost at rates, for a ``for`` loop and for numpy in turns."""
    for rate in rates:
        for name in ("for loop", "numpy"):
            before = lost.value
            seen, sent = _measured(name, rate, seconds)
            missed = lost.value - before
            if seen + missed != sent:
                raise SystemExit(f"{sent} events: {seen} were seen and {missed} lost")
            print(
                f"{rate:10} events/s, {name:9}{seen:10} seen {missed:8} lost = "
                f"{missed / max(seen + missed, 1):.2%} (buffer of {stream.live.max_entries >> 10} KiB)"
            )


def _measured(name: str, rate: int, seconds: float) -> tuple[int, int]:
    """How many events were seen, and sent by another process meanwhile."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writing, str(_produce(rate, seconds)).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as told:
        try:
            seen = _consume(name)
        finally:
            _, status = os.waitpid(child, 0)
        if status:
            raise SystemExit(f"the process that sends events ended with status {status}")
        return seen + len(stream.read_all()), int(told.read())


def _produce(rate: int, seconds: float) -> int:
    """Send events; how many."""
    step = 0.002
    start = time.monotonic()
    done = 0
    while (now := time.monotonic() - start) < seconds:
        due = int(now * rate) - done
        if due > 0:
            produce.run(FRAME, repeat=due)
            done += due
        time.sleep(step)
    return done


def _consume(name: str) -> int:
    if name == "for loop":
        return sum(1 for _ in stream.poll(timeout=0.5))
    seen = 0
    while len(found := stream.numpy(timeout=0.5)):
        seen += len(found)
    return seen


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.events", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000, help="how many in a round (at most 400000)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bcc", default="/usr/bin/python3", help="the interpreter that has BCC")
    parser.add_argument("--rates", type=int, nargs="*", default=[100_000, 500_000, 1_000_000])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each rate")
    given = parser.parse_args()
    affinity = os.sched_getaffinity(0)
    compare(given.events, given.rounds, given.bcc)
    os.sched_setaffinity(0, affinity)
    produce.load()
    losses(given.rates, given.seconds)
    for program in (fill, fill_perf, produce):
        program.close()
    sys.stdout.flush()


if __name__ == "__main__":
    main()
