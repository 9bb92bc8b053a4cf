"""Run generated programs on the kernel and in the reference evaluator, in several processes, and report.

At least 2,000 programs, as every release has to pass (about two minutes on two cores, as root)::

    python -m tests.differential.harness --count 2000 --seed 0

Every failure is printed with its seed; ``--seed N --count 1 --show --shrink`` looks at one of them: it prints the source
and the smallest program found that fails in the same way.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.differential.generate import generate
from tests.differential.judge import Judgement, Verdict, judge, packets, pin, pinned
from tests.differential.shrink import shrink


@dataclass(slots=True)
class Tally:
    """What a series of programs showed."""

    judged: dict[int, Judgement] = field(default_factory=dict)
    features: Counter[str] = field(default_factory=Counter)

    def add(self, seed: int, judgement: Judgement, features: Iterable[str]) -> None:
        """Note what became of program number ``seed``."""
        self.judged[seed] = judgement
        if judgement.verdict is Verdict.AGREED:
            self.features.update(features)

    def count(self, verdict: Verdict) -> int:
        """How many programs have it."""
        return sum(judgement.verdict is verdict for judgement in self.judged.values())

    @property
    def failures(self) -> dict[int, Judgement]:
        """Everything that is not as it should be, by seed."""
        return {s: j for s, j in sorted(self.judged.items()) if j.verdict is not Verdict.AGREED}


def run(seed: int, *, check: bool = False) -> tuple[int, Judgement, list[str]]:
    """Judge program number ``seed``: the seed, the judgement, and what the program contains."""
    source, features = generate(seed)
    return seed, judge(source, f"generated_{seed}", packets(seed), check=check), list(features)


def _run_checked(seed: int) -> tuple[int, Judgement, list[str]]:
    return run(seed, check=True)


def run_all(seeds: Iterable[int], jobs: int, check: bool) -> Tally:
    """Judge all programs, ``jobs`` at a time."""
    tally = Tally()
    context = multiprocessing.get_context("fork")
    numbers = context.Value("i", 0)
    work: Any = _run_checked if check else run
    with context.Pool(jobs, _start, (numbers,), maxtasksperchild=200) as pool:
        for seed, judgement, features in pool.imap_unordered(work, seeds):
            tally.add(seed, judgement, features)
    return tally


def _start(numbers: Any) -> None:
    """The first thing in a process of the pool: take turns with the CPUs."""
    with numbers.get_lock():
        numbers.value += 1
        number: int = numbers.value
    pin(number)


def report(tally: Tally, seconds: float) -> str:
    """What was covered, and the totals."""
    agreed = tally.count(Verdict.AGREED)
    lines = [f"{100 * n / max(1, agreed):5.1f} %  {name}" for name, n in tally.features.most_common()]
    sizes = sorted(j.instructions for j in tally.judged.values() if j.instructions)
    median = sizes[len(sizes) // 2] if sizes else 0
    largest = sizes[-1] if sizes else 0
    others = ", ".join(f"{tally.count(v)} {v.value}" for v in Verdict if v is not Verdict.AGREED)
    seeds = f"seeds {min(tally.judged)} to {max(tally.judged)}" if tally.judged else "no seeds"
    lines.append(
        f"{len(tally.judged)} programs ({seeds}) in {seconds:.0f} s, {median} instructions in the median, {largest} at most: "
        f"{agreed} agreed, {others}"
    )
    return "\n".join(lines)


def _look_at(seed: int, smaller: bool, check: bool) -> None:
    """Print a program, or the smallest that fails as it does, with what is wrong with it."""
    source = generate(seed)[0]

    def judge_text(text: str) -> Judgement:
        return judge(text, f"smaller_{seed}", packets(seed), check=check)

    with pinned():
        text = shrink(source, judge_text) if smaller else source
        print(text, judge_text(text).text, sep="\n")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="how many programs")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many processes")
    parser.add_argument("--check", action="store_true", help="verify the SSA after every pass")
    parser.add_argument("--show", action="store_true", help="print the source of the first failing program")
    parser.add_argument(
        "--shrink", action="store_true", help="print a small program that fails as the first one"
    )
    parser.add_argument("--failures", type=int, default=20, help="how many failures to print")
    args = parser.parse_args()
    start = time.monotonic()
    tally = run_all(range(args.seed, args.seed + args.count), args.jobs, args.check)
    for seed, judgement in list(tally.failures.items())[: args.failures]:
        print(f"{judgement.verdict.value}: seed {seed}\n{judgement.text[-2500:]}\n")
    print(report(tally, time.monotonic() - start))
    if tally.failures and (args.show or args.shrink):
        _look_at(next(iter(tally.failures)), args.shrink, args.check)
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
