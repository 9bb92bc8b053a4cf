"""Run generated programs on all machines, in several processes, compare, and report what was covered.

As every release has to pass (about half an hour on two cores, as root)::

    python -m tests.differential.harness --count 20000 --seed 0 --llvm 10 --require-coverage 5

The reference evaluator runs every program; ``--machines`` chooses what is compared with it. Without the privilege to load
programs the kernel is left out. Every failure is printed with its seed; ``--seed N --count 1 --show --shrink`` looks at
one of them: it prints the source and the smallest program found that fails in the same way.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.util import Finalize
from typing import Any

from tests.differential.coverage import CONSTRUCTS
from tests.differential.generate import generate
from tests.differential.judge import DEFAULT_MACHINES, Judgement, Verdict, judge, packets, pin, pinned
from tests.differential.machines import Absence, Machine
from tests.differential.shrink import shrink

LLVM = (Machine.LLVM_VM, Machine.LLVM_KERNEL)


@dataclass(frozen=True, slots=True)
class Plan:
    """On what machines programs run. ``llvm``: every so-many-th also through LLVM, none if 0."""

    machines: tuple[Machine, ...] = DEFAULT_MACHINES
    llvm: int = 0
    check: bool = False

    def on(self, seed: int) -> list[Machine]:
        """The machines of program number ``seed``."""
        if not self.llvm or seed % self.llvm:
            return list(self.machines)
        wanted = {Machine.LLVM_VM: Machine.VM, Machine.LLVM_KERNEL: Machine.KERNEL}
        return [*self.machines, *(one for one in LLVM if wanted[one] in self.machines)]


@dataclass(slots=True)
class Tally:
    """What a series of programs showed."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    agreed: Counter[Machine] = field(default_factory=Counter)
    absent: Counter[tuple[Machine, Absence]] = field(default_factory=Counter)
    constructs: Counter[str] = field(default_factory=Counter)
    sizes: list[int] = field(default_factory=list)
    failures: dict[int, Judgement] = field(default_factory=dict)
    through_llvm: int = 0

    def add(self, seed: int, judgement: Judgement) -> None:
        """Note what became of program number ``seed``."""
        self.verdicts[judgement.verdict] += 1
        self.agreed.update(judgement.agreed)
        self.absent.update(judgement.absent)
        self.through_llvm += any(machine.through_llvm for machine in judgement.agreed)
        if judgement.instructions:
            self.sizes.append(judgement.instructions)
        if judgement.verdict is Verdict.AGREED:
            self.constructs.update(judgement.constructs)
        else:
            self.failures[seed] = judgement

    def share(self, construct: str) -> float:
        """Of the programs that agreed, how many of a hundred contain it."""
        return 100 * self.constructs[construct] / max(1, self.verdicts[Verdict.AGREED])

    def rare(self, percent: float) -> list[str]:
        """The constructs of the language that are in fewer programs."""
        return [name for name in CONSTRUCTS if self.share(name) < percent]


def run(
    seed: int, *, check: bool = False, on: Collection[Machine] = DEFAULT_MACHINES
) -> tuple[int, Judgement, list[str]]:
    """Judge program number ``seed``: the seed, the judgement, and what the program contains."""
    judgement = judge(generate(seed)[0], f"generated_{seed}", packets(seed), check=check, on=on)
    return seed, judgement, sorted(judgement.constructs)


def _planned(plan: Plan, seed: int) -> tuple[int, Judgement]:
    number, judgement, _ = run(seed, check=plan.check, on=plan.on(seed))
    return number, judgement


def run_all(seeds: Iterable[int], jobs: int, plan: Plan, progress: bool = False) -> Tally:
    """Judge all programs, ``jobs`` at a time."""
    tally = Tally()
    context = multiprocessing.get_context("fork")
    busy = context.Array("i", len(os.sched_getaffinity(0)))
    start = time.monotonic()
    with context.Pool(jobs, _start, (busy,), maxtasksperchild=500) as pool:
        for done, (seed, judgement) in enumerate(pool.imap_unordered(partial(_planned, plan), seeds, 4), 1):
            tally.add(seed, judgement)
            if progress and seed in tally.failures:
                print(f"{judgement.verdict.value}: seed {seed}", flush=True)
            if progress and not done % 500:
                seconds = time.monotonic() - start
                print(f"{done} programs, {len(tally.failures)} failures, {seconds:.0f} s", flush=True)
    return tally


def _start(busy: Any) -> None:
    """The first thing in a process of the pool: take the CPU that has the fewest of them, until it ends."""
    with busy.get_lock():
        number = min(range(len(busy)), key=lambda n: busy[n])
        busy[number] += 1
    pin(number)
    Finalize(None, _end, (busy, number), exitpriority=1)


def _end(busy: Any, number: int) -> None:
    with busy.get_lock():
        busy[number] -= 1


# ---------------------------------------------------------------- telling


def _sizes(sizes: list[int]) -> str:
    if not sizes:
        return "no sizes"
    ordered = sorted(sizes)
    points = (0, 10, 25, 50, 75, 90, 100)
    found = [ordered[min(len(ordered) - 1, len(ordered) * point // 100)] for point in points]
    shown = ", ".join(f"{size} ({point} %)" for size, point in zip(found, points, strict=True))
    return f"instructions: {found[3]} in the median; {shown}"


def coverage_table(tally: Tally) -> str:
    """Every construct of the language with the share of programs that contain it, the rarest first."""
    return "\n".join(f"{tally.share(name):5.1f} %  {name}" for name in sorted(CONSTRUCTS, key=tally.share))


def report(tally: Tally, seconds: float) -> str:
    """The totals."""
    count = sum(tally.verdicts.values())
    lines = [_sizes(tally.sizes)]
    lines += [
        f"{machine.value}: {tally.agreed[machine]} programs as the evaluator ({100 * tally.agreed[machine] / count:.1f} %)"
        for machine in Machine
        if tally.agreed[machine]
    ]
    if tally.through_llvm:
        lines.append(f"through LLVM: {tally.through_llvm} programs as the evaluator")
    lines += [
        f"{machine.value}: {n} not compared, {absence.value}"
        for (machine, absence), n in tally.absent.items()
    ]
    rarest = sorted(CONSTRUCTS, key=tally.share)[:3]
    shown = ", ".join(f"{name} {tally.share(name):.1f} %" for name in rarest)
    lines.append(f"{len(CONSTRUCTS)} constructs; the rarest: {shown}")
    others = ", ".join(f"{tally.verdicts[v]} {v.value}" for v in Verdict if v is not Verdict.AGREED)
    lines.append(
        f"{count} programs in {seconds:.0f} s: {tally.verdicts[Verdict.AGREED]} agreed, {others}",
    )
    return "\n".join(lines)


def _look_at(seed: int, smaller: bool, plan: Plan) -> None:
    """Print a program, or the smallest that fails as it does, with what is wrong with it."""
    source = generate(seed)[0]

    def judge_text(text: str) -> Judgement:
        return judge(text, f"smaller_{seed}", packets(seed), check=plan.check, on=plan.on(seed))

    with pinned():
        text = shrink(source, judge_text) if smaller else source
        print(text, judge_text(text).text, sep="\n")


def _machines(text: str) -> tuple[Machine, ...]:
    return tuple(Machine(name) for name in text.split(","))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="how many programs")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many processes")
    parser.add_argument(
        "--machines",
        type=_machines,
        default=DEFAULT_MACHINES,
        help=f"of {', '.join(m.value for m in Machine if not m.through_llvm)}; separated by commas",
    )
    parser.add_argument("--llvm", type=int, default=0, metavar="N", help="every Nth program through LLVM too")
    parser.add_argument("--check", action="store_true", help="verify the SSA after every pass")
    parser.add_argument("--require-coverage", type=float, default=0, metavar="PERCENT", help="fail below it")
    parser.add_argument("--show", action="store_true", help="print the source of the first failing program")
    parser.add_argument(
        "--shrink", action="store_true", help="print a small program that fails as the first one"
    )
    parser.add_argument("--failures", type=int, default=20, help="how many failures to print")
    args = parser.parse_args()
    plan = Plan(args.machines, args.llvm, args.check)
    print(f"seeds {args.seed} to {args.seed + args.count - 1} on {', '.join(m.value for m in plan.machines)}")
    if Machine.KERNEL not in plan.machines:
        print("not on the kernel")
    start = time.monotonic()
    tally = run_all(range(args.seed, args.seed + args.count), args.jobs, plan, progress=True)
    for seed, judgement in sorted(tally.failures.items())[: args.failures]:
        print(f"{judgement.verdict.value}: seed {seed}\n{judgement.text[-2500:]}\n")
    print(coverage_table(tally))
    print(report(tally, time.monotonic() - start))
    if tally.failures and (args.show or args.shrink):
        _look_at(min(tally.failures), args.shrink, plan)
    rare = tally.rare(args.require_coverage)
    if rare:
        print(f"in fewer than {args.require_coverage} % of the programs: {', '.join(rare)}")
    return 1 if tally.failures or rare else 0


if __name__ == "__main__":
    sys.exit(main())
