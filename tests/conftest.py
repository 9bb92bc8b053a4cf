"""Options for the whole test suite."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyebpf.backend.machine import MachineFunction


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--bless`` writes golden files anew (see ``tests.golden.cases``); read the difference before
    committing it."""
    parser.addoption("--bless", action="store_true", help="write golden files anew instead of comparing")
    parser.addoption(
        "--guest",
        default="",
        metavar="ARGUMENTS",
        help="for pytest in virtual machines, as in --guest='-k scratch'",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Switch the cache of objects off. Hand ``--bless`` to the golden cases through the environment, which reaches
    parallel workers too."""
    os.environ.setdefault("PYEBPF_CACHE", "0")  # tests compile; those of the cache switch it on
    if config.getoption("--bless"):
        if os.environ.get("CI"):
            raise pytest.UsageError("--bless is for people: CI only compares")
        os.environ["PYEBPF_BLESS"] = "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests that are marked for other kernels than the running one. That is no skip: ``tests/vm`` boots several
    kernels."""
    left_out = [item for item in items if not _is_for_this_kernel(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _is_for_this_kernel(item: pytest.Item) -> bool:
    """``kernels(since=(6, 12))`` or ``kernels(before=(6, 12))``, or both."""
    mark = item.get_closest_marker("kernels")
    if mark is None or sys.platform != "linux":
        return mark is None
    major, minor = re.findall(r"\d+", platform.release())[:2]
    running = (int(major), int(minor))
    return bool(mark.kwargs.get("since", running) <= running < mark.kwargs.get("before", (running[0] + 1, 0)))


@pytest.fixture(autouse=True)
def alone(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests marked ``alone("what")`` take turns with all others of the machine that are marked so, in whatever process:
    for what a kernel has only one of."""
    mark = request.node.get_closest_marker("alone")
    if mark is None:
        yield
        return
    path = Path(tempfile.gettempdir()) / f"pyebpf-tests-{mark.args[0].replace(' ', '-')}.lock"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session", autouse=True)
def judged_allocations() -> Iterator[None]:
    """Every register allocation of the whole suite is judged by the independent checker."""
    from pyebpf.backend.allocate import allocate
    from pyebpf.backend.allocation_check import check, snapshot

    def judged(function: MachineFunction, *, late_stores: bool = False) -> None:
        before = snapshot(function)
        allocate(function, late_stores=late_stores)
        check(before, function)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyebpf.backend.codegen.allocate", judged)
        yield
