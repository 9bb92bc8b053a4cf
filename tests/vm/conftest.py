"""The tests in guests are collected in guests, or where somebody names them; the boots come first, for they take longest."""

from __future__ import annotations

from pathlib import Path

import pytest

GUEST = Path(__file__).with_name("guest")


def _asked_for(config: pytest.Config) -> bool:
    """Whether an argument names something in ``guest``."""
    at = config.invocation_params.dir
    named = ((at / str(argument).split("::")[0]).resolve() for argument in config.args)
    return any(path == GUEST or GUEST in path.parents for path in named)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave ``guest`` out."""
    return True if collection_path == GUEST and not _asked_for(config) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Boots before all others, so that other workers run the rest meanwhile."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/vm/test_kernels.py"))
