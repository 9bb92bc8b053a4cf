"""Programs that are valid by construction (``tests.valid``), compiled here and run in a guest with another kernel.

Run as root; a thousand programs take about twenty minutes on two CPUs::

    python -m tests.vm.valid --count 1000 --kernel 6.1

The objects are built for Linux 6.1, whatever kernel runs them; what each run has to leave says the reference evaluator. It
fails if the kernel refuses one, if one leaves something else, or if the guest is lost.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pyebpf.diagnostics import CompileError
from pyebpf.driver import compile_programs
from pyebpf.target import Target
from tests.differential.judge import evaluate, module_of, programs_of
from tests.differential.limit import time_limit
from tests.differential.machines import shape_of
from tests.valid.generate import frames, generate, kind_of
from tests.valid.writer import VERDICT
from tests.vm.cases import Case, Fate, read_results, write_cases
from tests.vm.kernels import KERNELS, kernel_of
from tests.vm.machine import obstacle, run_in_guest

TARGET = Target(kernel=(6, 1))
COMPILING = 120
"""Seconds that building and evaluating one program may take."""

BOOTING, TRYING = 1200.0, 4.0
"""Seconds after which a guest is given up: so many, and as many more for each program."""

CHUNK = 50

TRYING_ALL = (
    "import pathlib, sys; from tests.vm.cases import try_all; try_all(*map(pathlib.Path, sys.argv[1:]))"
)
"""What the guest runs: a module's main program would have other classes than those that were pickled."""


@dataclass(slots=True)
class Built:
    """``refused``: the first lines of what pyebpf said, by the numbers of the programs."""

    cases: list[Case] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)


def build(seeds: Iterable[int]) -> Built:
    """Compile the programs with these numbers, and work out what they leave."""
    built = Built()
    for seed in seeds:
        name, source = f"valid_{seed}", generate(seed)
        with time_limit(COMPILING), module_of(source, name) as module:
            try:
                compiled = compile_programs(programs_of(module), TARGET)
            except CompileError as error:
                built.refused[seed] = str(error).splitlines()[0]
                continue
            # The kernel has no test run for verdicts of sockets: these are only loaded.
            packets = [] if kind_of(seed) is VERDICT else frames(seed)
            expected, _ = evaluate(compiled, packets)
            case = Case(name, compiled.elf(), shape_of(compiled), tuple(packets), tuple(expected))
            built.cases.append(case)
    return built


def _build_in_parallel(first: int, count: int, jobs: int) -> Built:
    chunks = [range(at, min(at + CHUNK, first + count)) for at in range(first, first + count, CHUNK)]
    whole = Built()
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        for part in pool.map(build, chunks):
            whole.cases += part.cases
            whole.refused.update(part.refused)
    return whole


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="how many programs")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first")
    parser.add_argument("--kernel", choices=[one.series for one in KERNELS], default="6.1")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes that compile")
    args = parser.parse_args()
    kernel = kernel_of(args.kernel)
    reason = obstacle(kernel)
    if reason is not None:
        print(reason, file=sys.stderr)
        return 2
    start = time.monotonic()
    built = _build_in_parallel(args.seed, args.count, args.jobs)
    print(_told(built) + f", {time.monotonic() - start:.0f} s", flush=True)
    if not built.cases:
        return 1
    with tempfile.TemporaryDirectory(prefix="pyebpf-guest-") as exchange:
        cases, results = Path(exchange, "cases.pickle"), Path(exchange, "results.jsonl")
        write_cases(cases, built.cases)
        command = ["-c", TRYING_ALL, str(cases), str(results)]
        ended = run_in_guest(kernel, command, Path(exchange), seconds=BOOTING + TRYING * len(built.cases))
        found = read_results(results)
    counts = collections.Counter(result.fate for result in found)
    for result in found:
        if result.fate is not Fate.RIGHT:
            print(f"{result.name}: {result.fate.value}\n{result.text}\n")
    print(f"Linux {kernel.series}, {ended.seconds:.0f} s in the guest: "
          f"{counts[Fate.RIGHT] + counts[Fate.DIFFERENT]} loaded, "
          f"{sum(result.runs for result in found)} runs as the evaluator says")  # fmt: skip
    for fate in Fate:
        print(f"{counts[fate]:6} {fate.value}")
    if len(found) < len(built.cases) or ended.status != 0:
        lost = built.cases[len(found)].name if len(found) < len(built.cases) else "the end"
        print(f"the guest was lost at {lost}: {ended}")
        return 1
    return int(counts[Fate.RIGHT] < len(found))


def _told(built: Built) -> str:
    codes = collections.Counter(re.findall(r"error\[(E\d+)\]", " ".join(built.refused.values())))
    by_code = ", ".join(f"{code} {count}" for code, count in codes.most_common())
    return f"{len(built.cases)} built, {len(built.refused)} refused by pyebpf{f' ({by_code})' if by_code else ''}"


if __name__ == "__main__":
    sys.exit(main())
