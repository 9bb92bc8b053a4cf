"""Which kinds of tracing programs see an event on which kernel: ``python -m tests.vm.kinds``, as root; some minutes.

Runs ``tests/vm/guest/test_kinds.py`` on the running kernel and in every guest. The exit status is 1 if a kind fails that its
kernel has.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.vm.kernels import KERNELS, Kernel
from tests.vm.machine import obstacle, run_in_guest
from tests.vm.report import REASONS, VARIABLE, Outcome, Report, read_report

TESTS = "tests/vm/guest/test_kinds.py"
COMMAND = ["-m", "pytest", "-q", "-p", "tests.vm.report", "-p", "no:cacheprovider", "-p", "no:xdist", TESTS]
SECONDS = 600
WORDS = {Outcome.PASSED: "yes", Outcome.FAILED: "FAILED"}


def on_the_host(told: Path) -> Report:
    """What works on the running kernel."""
    subprocess.run(
        [sys.executable, *COMMAND],
        check=False,
        stdout=subprocess.DEVNULL,
        timeout=SECONDS,
        env={**os.environ, VARIABLE: str(told), REASONS: "1"},
    )
    return read_report(told)


def in_a_guest(kernel: Kernel, folder: Path) -> Report:
    """What works on another kernel."""
    told = folder / f"{kernel.series}.jsonl"
    ended = run_in_guest(
        kernel, COMMAND, folder, seconds=SECONDS, variables={VARIABLE: str(told), REASONS: "1"}
    )
    report = read_report(told)
    if report.finished is None:
        print(ended, file=sys.stderr)
    return report


def table(reports: Iterable[Report]) -> str:
    """A row for each kind, a column for each kernel, and the reasons below."""
    columns = {report.release.split("-")[0]: report for report in reports}
    kinds: dict[str, dict[str, str]] = {}
    reasons: dict[str, int] = {}
    for release, report in columns.items():
        for test in report.tests:
            found = re.search(r"test_an_event\w+\[(.*)\]", test.name)
            if found is None:
                continue
            word = WORDS.get(test.outcome)
            if word is None:
                reason = test.text.removeprefix("Skipped: ")
                word = f"no [{reasons.setdefault(reason, len(reasons) + 1)}]"
            kinds.setdefault(found[1], {})[release] = word
    lines = [f"{'':26}" + "".join(f"{release:>16}" for release in columns)]
    for kind, cells in kinds.items():
        lines.append(f"{kind:26}" + "".join(f"{cells.get(release, '-'):>16}" for release in columns))
    return "\n".join([*lines, "", *(f"[{number}] {reason}" for reason, number in reasons.items())])


def main() -> int:
    """The command."""
    if os.geteuid() != 0:
        print("tracing needs root", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reports = [on_the_host(folder / "host.jsonl")]
        for kernel in KERNELS:
            reason = obstacle(kernel)
            if reason is None:
                reports.append(in_a_guest(kernel, folder))
            else:
                print(f"Linux {kernel.series}: {reason}", file=sys.stderr)
    print(table(reports))
    failed = [test for report in reports for test in report.named(Outcome.FAILED)]
    for test in failed:
        print(f"\n{test.name}\n{test.text}")
    return 1 if failed or any(report.finished is None for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
