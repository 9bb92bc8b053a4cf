"""Mutants of programs that compile: each must be refused at the place of the mistake, or be loaded by this kernel.

As every release has to pass (as root; about three minutes on one CPU)::

    python -m tests.mutants.run --count 3000 --seed 0

It fails if pyebpf accepts a mutant that this kernel refuses, if a run of it does something else than the reference
evaluator says, if pyebpf raises anything but a ``CompileError`` or the errors of declarations, or if more than ``FALSE``
of a hundred refusals are of programs that Python runs and no rule forbids (``tests.mutants.python``). Refusals that blame
a place which has nothing to do with the change (``tests.mutants.blame``) are listed for reading with ``--elsewhere``,
those that may be false with ``--false``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.differential.judge import packets, pinned
from tests.mutants.blame import Blame, Change
from tests.mutants.judge import FAILURES, Fate, Result, importable, judge
from tests.mutants.make import Mutant, mutant
from tests.mutants.python import Meaning
from tests.mutants.python import meaning as meaning_of
from tests.valid.generate import frames

FALSE = 5
"""Of a hundred refusals at most so many may be false."""


@dataclass(slots=True)
class Tally:
    """What a series of mutants showed."""

    fates: Counter[Fate] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    blames: Counter[Blame] = field(default_factory=Counter)
    meanings: Counter[Meaning] = field(default_factory=Counter)
    compared: int = 0
    failures: list[tuple[Mutant, Result]] = field(default_factory=list)
    elsewhere: list[tuple[Mutant, Result]] = field(default_factory=list)
    false: list[tuple[Mutant, Result]] = field(default_factory=list)

    def add(self, made: Mutant, result: Result) -> None:
        """Note what became of a mutant."""
        self.fates[result.fate] += 1
        self.compared += result.compared
        if result.fate in FAILURES:
            self.failures.append((made, result))
        if result.fate is Fate.REFUSED:
            self.codes.update({diagnostic.code.name for diagnostic in result.diagnostics})
            blame = worst(made, result)
            self.blames[blame] += 1
            if blame is Blame.ELSEWHERE:
                self.elsewhere.append((made, result))
            meant = meaning(made, result)
            self.meanings[meant] += 1
            if meant is Meaning.FALSE:
                self.false.append((made, result))

    @property
    def refused(self) -> int:
        """How many pyebpf refused, when they were declared or compiled."""
        return self.fates[Fate.REFUSED] + self.fates[Fate.UNDECLARED]

    @property
    def false_share(self) -> float:
        """Of a hundred refusals, how many may be false."""
        return 100 * len(self.false) / max(1, self.refused)


def worst(made: Mutant, result: Result) -> Blame:
    """The least understandable place of the diagnostics of a refusal."""
    change, order = Change(made.before, made.after), list(Blame)
    file = result.diagnostics[0].span.file
    places = [change.blame(d) for d in result.diagnostics if d.span.file == file]
    return max(places, key=order.index)


def meaning(made: Mutant, result: Result) -> Meaning:
    """What Python makes of a refused mutant."""
    lines = {d.span.line for d in result.diagnostics if d.span.file.startswith("<")}
    codes = {d.code.name for d in result.diagnostics}
    return meaning_of(made.after, lines, codes, packets(made.seed) + frames(made.seed))


def run(seeds: Iterable[int], *, progress: bool = False) -> Tally:
    """Judge the mutants with these numbers."""
    tally = Tally()
    with pinned(), importable():
        for done, seed in enumerate(seeds, 1):
            made = mutant(seed)
            result = judge(made)
            tally.add(made, result)
            if progress and result.fate in FAILURES:
                print(f"{result.fate.value}: mutant {seed}", flush=True)
            if progress and not done % 500:
                print(f"{done} mutants, {len(tally.failures)} failures", flush=True)
    return tally


def show(made: Mutant, result: Result, *, source: bool) -> str:
    """A mutant with what became of it."""
    tail = "\n".join(result.text.splitlines()[-40:])
    text = f"{made.after}\n" if source else ""
    return f"--- mutant {made.seed}: {made.operator} of {made.origin}: {result.fate.value}\n{text}{made.diff}\n{tail}\n"


def report(tally: Tally, seconds: float) -> str:
    """The totals."""
    count = sum(tally.fates.values())
    lines = [f"{number:6} {code}" for code, number in tally.codes.most_common()]
    lines += [f"{tally.blames[blame]:6} blame {blame.value}" for blame in Blame]
    lines += [f"{tally.meanings[meant]:6} {meant.value}" for meant in Meaning]
    lines += [f"{tally.fates[fate]:6} {fate.value}" for fate in Fate]
    lines.append(
        f"{count} mutants in {seconds:.0f} s: {tally.refused} refused, {tally.fates[Fate.LOADED]} loaded "
        f"({tally.compared} compared with the evaluator), {tally.false_share:.1f} % of the refusals may be false, "
        f"{len(tally.failures)} failures"
    )
    return "\n".join(lines)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=600, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first")
    parser.add_argument("--elsewhere", action="store_true", help="print refusals that blame another place")
    parser.add_argument("--false", action="store_true", help="print refusals that may be false")
    args = parser.parse_args()
    start = time.monotonic()
    tally = run(range(args.seed, args.seed + args.count), progress=True)
    for made, result in [*(tally.elsewhere if args.elsewhere else ()), *(tally.false if args.false else ())]:
        print(show(made, result, source=False))
    for made, result in tally.failures:
        print(show(made, result, source=True))
    print(report(tally, time.monotonic() - start))
    return 1 if tally.failures or tally.false_share > FALSE else 0


if __name__ == "__main__":
    sys.exit(main())
