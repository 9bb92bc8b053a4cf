"""For tests in guests: what the host has prepared, and tests that want a newer kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyebpf.driver import running_target
from tests.vm.preparing import prepare_one


@pytest.fixture(scope="module")
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this module's ``prepare``; made now where this is no guest."""
    name = request.path.stem
    exchange = os.environ.get("PYEBPF_GUEST")
    return Path(exchange) / name if exchange else prepare_one(name, tmp_path_factory.mktemp("here") / name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests marked ``needs_kernel(6, 12)`` on older ones. That is no skip: they run in another guest."""
    left_out = [item for item in items if _too_new(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _too_new(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("needs_kernel")
    return mark is not None and running_target().kernel < mark.args
