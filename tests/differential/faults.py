"""Plant every fault, one at a time, and tell which machine notices it.

A fault that nothing notices shows a hole in the generator or in the machines (all of them: some minutes)::

    python -m tests.differential.faults

Each runs in a process of its own (``tests.differential.plant``), in which one line of the compiler is another one. It
judges generated programs; for faults in register allocation, random functions by the checker as well.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.differential.plant import NO_FAULT, ROOT, Finding, Machine
from tests.differential.planted import FAULTS, Area, Fault

SECONDS = 900
"""How long the programs of one fault may take."""
QUICK = (
    "wrap_without_sign",
    "fact_on_wrong_edge",
    "merge_order",
    "truth_exchanged",
    "clobber_missing",
    "jump_over_wide",
)
"""A fault of each area (two of the passes), for a test that takes seconds."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a fault."""

    fault: Fault
    findings: tuple[Finding, ...]

    @property
    def caught(self) -> bool:
        """Whether any machine noticed it."""
        return any(finding.machine is not Machine.NONE for finding in self.findings)


def fault_of(name: str) -> Fault:
    """The fault with this name. Raises ``KeyError`` if there is none."""
    return {fault.name: fault for fault in FAULTS}[name]


def _run(name: str, seed: int, limit: int, *options: str) -> Finding:
    numbers = ["--seed", str(seed), "--limit", str(limit)]
    command = [sys.executable, "-m", "tests.differential.plant", name, *numbers, *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding(Machine.CLOCK, 0, f"more than {SECONDS} s")
    if done.returncode:  # the compiler does not even start
        lines = done.stderr.strip().splitlines()
        return Finding(Machine.COMPILER, 0, lines[-1] if lines else f"exit code {done.returncode}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Finding(Machine[found["machine"]], found["programs"], found["detail"])


def try_fault(fault: Fault, seed: int, limit: int) -> Report:
    """Plant ``fault`` and judge up to ``limit`` programs from number ``seed`` on."""
    findings = [_judge_programs(fault, seed, limit)]
    if fault.area is Area.ALLOCATION:
        findings.append(_run(fault.name, seed, limit, "--checker"))
    return Report(fault, tuple(findings))


def _judge_programs(fault: Fault, seed: int, limit: int) -> Finding:
    """The first program that shows the fault, and is all right without it."""
    first = seed
    while first < seed + limit:
        finding = _run(fault.name, first, seed + limit - first)
        if finding.machine is Machine.NONE:
            break
        first += finding.programs
        sound = _run(NO_FAULT, max(seed, first - 1), 1)
        if sound.machine is Machine.NONE:
            return Finding(finding.machine, first - seed, finding.detail)
        if sound.programs == 0:
            raise RuntimeError(f"nothing runs without a fault either: {sound.detail}")
    return Finding(Machine.NONE, limit)


def _line(report: Report) -> str:
    words = " and ".join(f"{f.machine.value} after {f.programs}" for f in report.findings)
    return f"{report.fault.area.value:20} {report.fault.name:26} {words:52} {report.fault.breaks}"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", metavar="NAME", help="this fault (may be repeated)")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first program")
    parser.add_argument("--limit", type=int, default=1500, help="how many programs to try at most")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many processes")
    parser.add_argument("--details", action="store_true", help="print what the machines said")
    args = parser.parse_args()
    faults = [fault_of(name) for name in args.only] if args.only else list(FAULTS)
    start = time.monotonic()
    with ThreadPoolExecutor(args.jobs) as pool:
        reports = []
        for report in pool.map(lambda fault: try_fault(fault, args.seed, args.limit), faults):
            reports.append(report)
            print(_line(report), flush=True)
            if args.details:
                print(*(f"    {f.detail}" for f in report.findings), sep="\n")
    caught = sum(report.caught for report in reports)
    print(f"{caught} of {len(reports)} faults caught, {time.monotonic() - start:.0f} s")
    return 0 if caught == len(reports) else 1


if __name__ == "__main__":
    sys.exit(main())
