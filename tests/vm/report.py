"""What a guest's pytest tells the host: a file with a line of JSON for each thing that happens, as it happens.

So nothing of it is lost when the guest is, and the test that was running then is known. This module is pytest's plugin in
the guest (``-p tests.vm.report``, the file's name is in ``PYEBPF_GUEST_REPORT``) and the reader on the host.
"""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import pytest

VARIABLE = "PYEBPF_GUEST_REPORT"
REASONS = "PYEBPF_GUEST_REASONS"
"""With this in the environment, a test of what a kernel does not have is skipped, with the reason."""


class Outcome(enum.Enum):
    """What became of a test."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class GuestTest:
    """One test in a guest. ``text``: its traceback and what it printed, or why it was skipped."""

    name: str
    outcome: Outcome
    seconds: float
    text: str = ""


@dataclass(slots=True)
class Report:
    """What a guest told. ``finished``: pytest's exit status, ``None`` if it did not come to its end. ``running``: the
    test that was begun last and not finished. ``errors``: what was wrong outside of tests."""

    release: str = ""
    tests: list[GuestTest] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    running: str | None = None
    finished: int | None = None

    def named(self, outcome: Outcome) -> list[GuestTest]:
        """The tests that ended so."""
        return [test for test in self.tests if test.outcome is outcome]


# ---------------------------------------------------------------- in the guest


class _Writer:
    """Writes lines, each at once."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def _tell(self, event: str, **what: Any) -> None:
        self._file.write(json.dumps({"event": event, **what}) + "\n")
        self._file.flush()

    def pytest_sessionstart(self) -> None:
        self._tell("booted", release=os.uname().release)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._tell("error", text=f"{report.nodeid}\n{report.longreprtext}")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._tell("begin", name=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        text = report.longreprtext
        if report.skipped and isinstance(report.longrepr, tuple):
            text = report.longrepr[2]
        elif report.failed:
            text += "".join(f"\n--- {title}\n{printed}" for title, printed in report.sections)
        name = report.nodeid if report.when == "call" else f"{report.nodeid} ({report.when})"
        self._tell("test", name=name, outcome=report.outcome, seconds=report.duration, text=text)

    def pytest_runtest_logfinish(self) -> None:
        self._tell("end")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self._tell("finished", status=int(exitstatus))


def pytest_configure(config: pytest.Config) -> None:
    """Begin the file, if there shall be one."""
    if VARIABLE in os.environ:
        file = Path(os.environ[VARIABLE]).open("w", encoding="utf-8")  # noqa: SIM115
        config.add_cleanup(file.close)
        config.pluginmanager.register(_Writer(file), "guest report")


# ---------------------------------------------------------------- on the host


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """All whole lines; a guest may be lost in the middle of one."""
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                return


def read_report(path: Path) -> Report:
    """What the file says, however much of it there is."""
    report = Report()
    for line in _lines(path):
        match line.pop("event"):
            case "booted":
                report.release = line["release"]
            case "error":
                report.errors.append(line["text"])
            case "begin":
                report.running = line["name"]
            case "test":
                outcome = Outcome(line.pop("outcome"))
                report.tests.append(GuestTest(outcome=outcome, **line))
            case "end":
                report.running = None
            case "finished":
                report.finished = line["status"]
    return report
