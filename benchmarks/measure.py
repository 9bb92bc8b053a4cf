"""What an object costs: its size, the verifier's work, and nanoseconds per run.

Run times are taken as the CPU time of one test run with many repetitions, divided by them: the kernel's own average
is in whole nanoseconds of wall time, in which other processes may have run. Three things would falsify it:

- Where the JIT puts the code moves a loop by up to a third, so every variant is loaded anew several times; the
  loads of the variants take turns, so that a slow moment of the machine meets all of them.
- An XDP program that is attached nowhere makes each test run wait for an update of the kernel's XDP dispatcher, so
  it is attached to the loopback interface of a network namespace of its own while it is timed.
- A process that moves between CPUs starts with cold caches, so it stays on one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.cases import Case
from benchmarks.effects import prepare
from pyebpf.object import ObjectSpec
from pyebpf.runtime.attach.xdp import XdpMode, attach_xdp
from pyebpf.runtime.load import load
from pyebpf.runtime.program import LoadedProgram
from pyebpf.uapi.constants import ProgType

_LOG_STATS: Final = 4
_CLONE_NEWNET: Final = 0x40000000
_SLOT: Final = 8


@dataclass(frozen=True, slots=True)
class Size:
    """All programs of an object together. ``instructions``: slots of 8 bytes. ``verified``: instructions that the verifier
    walked. ``stack``: bytes of the deepest chain of calls. ``jited``: bytes of machine code."""

    instructions: int
    verified: int
    stack: int
    jited: int


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: fresh loads of each variant, test runs for each load, repetitions in each test run."""

    loads: int = 9
    rounds: int = 5
    repeat: int = 200_000


@dataclass(frozen=True, slots=True)
class Time:
    """Nanoseconds per run: the best call of all, and the median over the loads of each load's best."""

    best: float
    median: float


def size_of(spec: ObjectSpec) -> Size:
    """Load the object once and ask the kernel. Raises ``BpfError``."""
    functions = [*spec.programs.values(), *spec.functions.values()]
    with load(spec, log_level=_LOG_STATS) as loaded:
        facts = [program.info() for program in loaded.programs.values()]
        return Size(
            instructions=sum(len(function.code) // _SLOT for function in functions),
            verified=sum(fact.verified_insns for fact in facts),
            stack=sum(_stack(program.log) for program in loaded.programs.values()),
            jited=sum(fact.jited_size for fact in facts),
        )


def _stack(log: str) -> int:
    found = re.search(r"^stack depth ([\d+]+)", log, re.MULTILINE)
    if found is None:
        raise ValueError("the verifier's log does not state the depth of the stack")
    return sum(map(int, found[1].split("+")))


def times_of(case: Case, variants: Mapping[str, ObjectSpec], effort: Effort) -> dict[tuple[str, str], Time]:
    """The run times by variant and packet. Call it inside ``quiet``. Raises ``BpfError``."""
    best: dict[tuple[str, str], list[float]] = {}
    for turn in range(effort.loads):
        order = list(variants.items())
        for variant, spec in order if turn % 2 == 0 else reversed(order):
            with load(spec) as loaded, contextlib.ExitStack() as stack:
                prepare(case, loaded)
                program = loaded.programs[case.program]
                if program.type is ProgType.XDP:
                    stack.enter_context(attach_xdp(program, "lo", mode=XdpMode.GENERIC))
                for packet in case.timed:
                    rounds = (
                        _timed(program, case.packets[packet], effort.repeat) for _ in range(effort.rounds)
                    )
                    best.setdefault((variant, packet), []).append(min(rounds))
    return {key: Time(min(values), statistics.median(values)) for key, values in best.items()}


def _timed(program: LoadedProgram, packet: bytes, repeat: int) -> float:
    start = time.thread_time_ns()
    program.run(packet, repeat=repeat)
    return (time.thread_time_ns() - start) / repeat


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Stay on one CPU, in a new network namespace, while the block runs (this thread only). Raises ``OSError``."""
    libc = ctypes.CDLL(None, use_errno=True)
    cpus = os.sched_getaffinity(0)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "a network namespace to measure in needs CAP_SYS_ADMIN")
        os.sched_setaffinity(0, {max(cpus)})
        yield
    finally:
        os.sched_setaffinity(0, cpus)
        libc.setns(home, _CLONE_NEWNET)
        os.close(home)
