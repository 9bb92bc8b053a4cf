"""Options for the whole test suite."""

from __future__ import annotations

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--bless`` writes golden files anew (see ``tests.golden.cases``); read the difference before committing it."""
    parser.addoption("--bless", action="store_true", help="write golden files anew instead of comparing")


def pytest_configure(config: pytest.Config) -> None:
    """Hand ``--bless`` to the golden cases through the environment, which reaches parallel workers too."""
    if config.getoption("--bless"):
        if os.environ.get("CI"):
            raise pytest.UsageError("--bless is for people: CI only compares")
        os.environ["PYEBPF_BLESS"] = "1"
