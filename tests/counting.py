"""A pytest plugin: with ``--counted`` each layer must run at least the number of tests in ``tests/counts.json``.

A layer is a folder of ``tests/``. So a test that is lost (not collected, skipped, deselected) fails the run. With
``CI`` set nothing may be skipped. ``--count-layers`` prints what ran, to bring the file up to date.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

COUNTS = Path(__file__).with_name("counts.json")
_passed: Counter[str] = Counter()
_skipped: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the two options."""
    parser.addoption(
        "--counted", action="store_true", help="fail if a layer ran fewer tests than counts.json says"
    )
    parser.addoption("--count-layers", action="store_true", help="print how many tests each layer ran")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count what passed; remember what was skipped."""
    layer = Path(report.nodeid.split("::")[0]).parts[1]
    if report.when == "call" and report.passed:
        _passed[layer] += 1
    elif report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Compare; in a worker of pytest-xdist there is nothing to do."""
    if hasattr(session.config, "workerinput"):
        return
    problems: list[str] = []
    if session.config.getoption("--counted"):
        for layer, least in json.loads(COUNTS.read_text()).items():
            if _passed[layer] < least:
                problems.append(
                    f"layer {layer}: {_passed[layer]} tests passed, at least {least} are expected"
                )
        if os.environ.get("CI") and _skipped:
            problems += [f"skipped in CI: {name}" for name in _skipped]
    if session.config.getoption("--count-layers"):
        print("\n" + json.dumps(dict(sorted(_passed.items())), indent=2))
    if problems:
        print("\n" + "\n".join(problems))
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
