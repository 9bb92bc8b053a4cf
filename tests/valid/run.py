"""Programs that are valid by construction: nearly all must compile, and what compiles must load and be right.

As every release has to pass (as root; about forty minutes on one CPU)::

    python -m tests.valid.run --count 10000 --seed 0

Every program is one that a user may write: a parser, a counter, a filter, a limit, a sampler, made of the pieces in
``tests.valid`` with the help of docs/language.md, not of the compiler. It fails if fewer than ``SHARE`` of a hundred
programs compile, if this kernel refuses one that does, or if any machine leaves something else than the reference
evaluator. Refusals are printed by code, each with one example.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.differential.judge import (
    DEFAULT_MACHINES,
    Judgement,
    Verdict,
    judge,
    module_of,
    pinned,
    programs_of,
)
from tests.differential.machines import Machine
from tests.differential.shrink import shrink
from tests.mutants.judge import load_only
from tests.valid.generate import frames, generate, kind_of
from tests.valid.writer import VERDICT

SHARE = 95
"""Of a hundred programs so many must compile."""


@dataclass(slots=True)
class Tally:
    """What a series of programs showed. ``refused``: by code, the numbers of the programs."""

    count: int = 0
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    agreed: Counter[Machine] = field(default_factory=Counter)
    refused: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    failures: dict[int, Judgement] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)

    def add(self, seed: int, judgement: Judgement) -> None:
        """Note what became of program number ``seed``."""
        self.count += 1
        self.verdicts[judgement.verdict] += 1
        self.agreed.update(judgement.agreed)
        if judgement.instructions:
            self.sizes.append(judgement.instructions)
        if judgement.verdict is Verdict.REFUSED:
            for code in set(re.findall(r"error\[(E\d+)\]", judgement.text)):
                self.refused.setdefault(code, []).append((seed, judgement.text))
        elif judgement.verdict is not Verdict.AGREED:
            self.failures[seed] = judgement

    @property
    def share(self) -> float:
        """Of a hundred programs, how many compile."""
        return 100 * (self.count - self.verdicts[Verdict.REFUSED]) / max(1, self.count)


def judged(seed: int, source: str | None = None) -> Judgement:
    """Judge program number ``seed``, or a changed text of it. The kernel has no test run for verdicts of sockets: these
    are loaded there, and run in the built-in machine only."""
    text, name = source or generate(seed), f"valid_{seed}"
    if kind_of(seed) is not VERDICT:
        return judge(text, name, frames(seed))
    judgement = judge(text, name, frames(seed), on=(Machine.VM,))
    if judgement.verdict is Verdict.AGREED and Machine.KERNEL in DEFAULT_MACHINES:
        with module_of(text, name) as module:
            refused = load_only(programs_of(module))
        if refused is not None:
            return Judgement(Verdict.REJECTED, refused)
    return judgement


def run(seeds: Iterable[int], *, progress: bool = False) -> Tally:
    """Judge the programs with these numbers."""
    tally, start = Tally(), time.monotonic()
    with pinned():
        for seed in seeds:
            tally.add(seed, judged(seed))
            if progress and seed in tally.failures:
                print(f"{tally.failures[seed].verdict.value}: seed {seed}", flush=True)
            if progress and not tally.count % 500:
                seconds = time.monotonic() - start
                print(f"{tally.count} programs, {tally.share:.1f} % compile, {seconds:.0f} s", flush=True)
    return tally


def report(tally: Tally) -> str:
    """The refusals by code, and the totals."""
    lines = []
    for code, found in sorted(tally.refused.items(), key=lambda item: -len(item[1])):
        seed, text = min(found, key=lambda one: len(one[1]))
        lines.append(f"{code}: {len(found)} programs, such as number {seed}\n{text}\n")
    sizes = sorted(tally.sizes) or [0]
    lines.append(f"instructions: {sizes[len(sizes) // 2]} in the median, at most {sizes[-1]}")
    lines += [
        f"{tally.agreed[machine]:6} as the evaluator: {machine.value}"
        for machine in Machine
        if tally.agreed[machine]
    ]
    lines += [f"{tally.verdicts[verdict]:6} {verdict.value}" for verdict in Verdict]
    lines.append(f"{tally.count} programs: {tally.share:.1f} % compile, {len(tally.failures)} failures")
    return "\n".join(lines)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="how many programs")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first")
    parser.add_argument("--failures", type=int, default=20, help="how many failures to print")
    parser.add_argument(
        "--shrink", action="store_true", help="print a small program that fails as the first one"
    )
    args = parser.parse_args()
    tally = run(range(args.seed, args.seed + args.count), progress=True)
    for seed, judgement in sorted(tally.failures.items())[: args.failures]:
        print(f"{judgement.verdict.value}: seed {seed}\n{judgement.text[-2500:]}\n")
    print(report(tally))
    if args.shrink and tally.failures:
        seed = min(tally.failures)
        with pinned():
            print(shrink(generate(seed), lambda text: judged(seed, text)))
    return 1 if tally.failures or tally.share < SHARE else 0


if __name__ == "__main__":
    sys.exit(main())
