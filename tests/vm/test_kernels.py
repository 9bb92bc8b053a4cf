"""``tests/vm/guest`` and tests of other folders in Debian's kernels, one boot for each; every test there is a subtest here."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.vm.kernels import KERNELS, Kernel
from tests.vm.machine import obstacle, run_in_guest
from tests.vm.preparing import prepare_all
from tests.vm.report import VARIABLE, Outcome, Report, read_report

SUITE = (
    "tests/vm/guest",
    "tests/kernel/test_scratch.py",
    "tests/unit/uapi/test_programs.py",
    "tests/unit/uapi/test_availability.py::test_the_running_kernel",
)
"""What runs in every guest."""

SECONDS = 900
"""A boot with all tests takes two minutes; more than this is a guest that hangs."""

LONGEST = 10
"""With ``pytest -rA`` one sees that many tests that took longest."""

HANGS = 180
"""Seconds after which a test in a guest tells where it is."""


@pytest.fixture(scope="session")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that guests write to, with what the tests there need."""
    folder = tmp_path_factory.mktemp("guests")
    prepare_all(folder)
    return folder


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.series)
def test_kernel(kernel: Kernel, request: pytest.FixtureRequest, subtests: pytest.Subtests) -> None:
    reason = obstacle(kernel)
    if reason is not None:
        pytest.skip(reason)
    exchange: Path = request.getfixturevalue("exchange")
    told = exchange / f"{kernel.series}.jsonl"
    command = ["-m", "pytest", "-q", "--color=no", "-p", "tests.vm.report", "-p", "no:cacheprovider"]
    command += [
        "-o",
        f"faulthandler_timeout={HANGS}",
        *shlex.split(request.config.getoption("--guest")),
        *SUITE,
    ]
    ended = run_in_guest(kernel, command, exchange, seconds=SECONDS, variables={VARIABLE: str(told)})
    report = read_report(told)
    for test in report.tests:
        with subtests.test(f"{kernel.series} {test.name}"):
            if test.outcome is Outcome.FAILED:
                pytest.fail(test.text, pytrace=False)
            if test.outcome is Outcome.SKIPPED:
                pytest.skip(test.text)
    problem = problem_of(kernel, report)
    if problem is None and ended.status != 0:
        problem = f"exit status {ended.status}"
    if problem is not None:
        pytest.fail(f"Linux {kernel.series}: {problem}\n{ended}", pytrace=False)
    print(f"Linux {report.release}: {len(report.tests)} tests, {ended.seconds:.0f} s, of which")
    for test in sorted(report.tests, key=lambda test: -test.seconds)[:LONGEST]:
        print(f"{test.seconds:6.1f} s {test.name}")


def problem_of(kernel: Kernel, report: Report) -> str | None:
    """What is wrong with the guest's run as a whole."""
    if not report.release:
        return "the guest told nothing: it did not boot, or Python did not start"
    if not report.release.startswith(f"{kernel.series}."):
        return f"this kernel was booted: {report.release}"
    if report.errors:
        return "tests that cannot be collected:\n" + "\n".join(report.errors)
    if report.running is not None:
        return f"the guest was lost in {report.running}"
    if report.finished is None:
        return "the guest was lost between tests"
    if report.finished != pytest.ExitCode.OK:
        return f"{len(report.named(Outcome.FAILED))} of {len(report.tests)} tests failed in the guest"
    return None
