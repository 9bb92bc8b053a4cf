"""Two tasks that run one program on one CPU and preempt each other in it: does one see what the other has in its objects?

Needs a kernel that preempts tasks inside programs: ``preempt=full`` and older than the release in which test runs switch
soft interrupts off (6.1 does). ``tests/vm/guest/test_preempted.py`` runs it in such a guest. Run as root on such a kernel,
``python -m tests.vm.preempted`` prints how often one task came in between, and how many wrong words it found with scratch
memory and with one plain value of a per-CPU map for all. Exits with 1 if scratch memory was seen by two, or if the tasks
never met, so that nothing was shown.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyebpf as bpf
from pyebpf import u8, u32, u64

bpf.license("GPL")

SECONDS = 60.0
"""After so many seconds it ends, whatever was seen."""

ENOUGH = 20
"""So often one task comes in between before it ends."""


@bpf.struct
class Plain:
    words: list[u64] = bpf.array(u64, 100)


@bpf.struct
class Found:
    runs: u64
    met: u64
    wrong: u64


plain = bpf.PerCpuArray[u32, Plain](max_entries=1)
inside = bpf.Global[u64](0)
found = bpf.ArrayMap[u32, Found](max_entries=2)


@bpf.tc(on_error=99)
def private(skb: bpf.SkBuff) -> int:
    """Fills its words with what the packet begins with, takes its time, and looks at them again."""
    words = bpf.array(u64, 100)
    mine = skb.load(u8, 0)
    told = found[0]
    for i in range(100):
        words[i] = mine * 1000 + i
    inside.value += 1

    def wait(i: u32) -> None:
        if i % 64 == 0 and inside.value > 1:
            told.met += 1

    bpf.loop(20_000, wait)
    inside.value -= 1
    for i in range(100):
        if words[i] != mine * 1000 + i:
            told.wrong += 1
    told.runs += 1
    return 0


@bpf.tc(on_error=99)
def shared(skb: bpf.SkBuff) -> int:
    """The same with one value for all on this CPU."""
    words = plain[0].words
    mine = skb.load(u8, 0)
    told = found[1]
    for i in range(100):
        words[i] = mine * 1000 + i
    inside.value += 1

    def wait(i: u32) -> None:
        if i % 64 == 0 and inside.value > 1:
            told.met += 1

    bpf.loop(20_000, wait)
    inside.value -= 1
    for i in range(100):
        if words[i] != mine * 1000 + i:
            told.wrong += 1
    told.runs += 1
    return 0


@contextmanager
def another(program: bpf.TcProgram, packet: bytes) -> Iterator[None]:
    """A second process that runs ``program`` on the same CPU meanwhile."""
    child = os.fork()
    if child == 0:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            program.run(packet)
        os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def provoke(program: bpf.TcProgram) -> Found:
    """Run it from two tasks until they met often enough, or time is up. Keeps this process on its first CPU."""
    os.sched_setaffinity(0, {0})
    program.load()
    at = 0 if program is private else 1
    with another(program, bytes([3]) + bytes(59)):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and found[at].met < ENOUGH:
            assert program.run(bytes([7]) + bytes(59)).verdict == 0
    return found[at]


def main() -> int:
    """Run both programs from two tasks."""
    print(f"Linux {os.uname().release}; {Path('/proc/cmdline').read_text().strip()}")
    ends = []
    for program in (private, shared):
        end = provoke(program)
        ends.append(end)
        print(
            f"{program.name}: {end.runs} runs, {end.met} times another one was inside, {end.wrong} wrong words"
        )
    return int(not (ends[0].met and ends[1].wrong) or ends[0].wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
