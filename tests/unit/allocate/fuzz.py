"""Allocate random functions and judge each result by the independent checker and by simulation.

    python -m tests.unit.allocate.fuzz --count 100000 --seed 0 --pressure 12 40

Every third function has as many values alive at once as ``--pressure`` says; machines have 10 registers to give.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from pyebpf.backend import allocation_check, frame
from pyebpf.backend.allocate import allocate
from pyebpf.backend.machine import MachineFunction
from pyebpf.backend.machine_text import print_machine
from tests.unit.allocate.generator import pressing_shape, random_function
from tests.unit.allocate.pressure import pressure
from tests.unit.allocate.simulate import compare

CHUNK = 250
PRESSURE = (12, 40)
RANGES = (0, 5, 10, 11, 16, 21, 26, 31, 36, 41)
"""The begins of the ranges of pressure that are reported."""


@dataclass(slots=True)
class Series:
    """What became of a series of functions: how many instructions, how many functions by greatest pressure."""

    insns: int = 0
    pressures: Counter[int] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: Series) -> None:
        """Take over the numbers of another series."""
        self.insns += other.insns
        self.pressures.update(other.pressures)
        self.failures += other.failures


def judge(function: MachineFunction, seed: int = 0, *, late_stores: bool = False) -> MachineFunction:
    """Allocate ``function`` and lay out its frame; gives what it was before. Raises if the result is wrong."""
    before = allocation_check.snapshot(function)
    allocate(function, late_stores=late_stores)
    allocation_check.check(before, function)
    frame.layout(function)
    compare(before, function, seed)
    return before


def function_of(seed: int, least: int, most: int) -> MachineFunction:
    """Function number ``seed``: any shape, or for every third seed one with the given pressure."""
    if seed % 3:
        return random_function(seed)
    return random_function(seed, pressing_shape(random.Random(~seed), least, most))


def judge_series(work: tuple[int, int, int, int]) -> Series:
    """Judge the functions with the seeds ``first`` to ``last - 1``; ``work`` is first, last, least, most."""
    first, last, least, most = work
    series = Series()
    for seed in range(first, last):
        try:
            before = judge(function_of(seed, least, most), seed, late_stores=seed % 4 == 0)
        except Exception as error:
            series.failures.append((seed, f"{type(error).__name__}: {error}"))
            continue
        series.insns += sum(len(b.insns) for b in before.blocks)
        series.pressures[pressure(before)] += 1
    return series


def _chunks(first: int, count: int, least: int, most: int) -> Iterator[tuple[int, int, int, int]]:
    for start in range(first, first + count, CHUNK):
        yield start, min(start + CHUNK, first + count), least, most


def distribution(pressures: Counter[int]) -> str:
    """The number of functions in each range of greatest pressure, one line each."""
    lines = []
    for at, start in enumerate(RANGES):
        end = RANGES[at + 1] - 1 if at + 1 < len(RANGES) else None
        count = sum(n for p, n in pressures.items() if p >= start and (end is None or p <= end))
        words = f"{start} and more" if end is None else f"{start} to {end}" if end > start else f"{start}"
        lines.append(f"{count:8} functions with {words} values alive at once")
    return "\n".join(lines)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="how many functions")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many processes")
    parser.add_argument("--pressure", type=int, nargs=2, default=PRESSURE, metavar=("LEAST", "MOST"))
    options = parser.parse_args()
    least, most = options.pressure
    start, total = time.perf_counter(), Series()
    with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
        for series in pool.imap_unordered(judge_series, _chunks(options.seed, options.count, least, most)):
            total.add(series)
    for seed, text in sorted(total.failures)[:3]:
        print(f"seed {seed} fails: {text}", print_machine(function_of(seed, least, most)), sep="\n")
    print(distribution(total.pressures))
    over = sum(n for p, n in total.pressures.items() if p > 10)
    verdict = f"{len(total.failures)} fail" if total.failures else "all right"
    print(
        f"{options.count} functions from seed {options.seed}, {total.insns} instructions, {over} functions with more than "
        f"10 values alive at once: {verdict}, {time.perf_counter() - start:.1f} s"
    )
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
