"""For tests in guests: what the host has prepared."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.vm.preparing import prepare_one


@pytest.fixture(scope="module")
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this module's ``prepare``; made now where this is no guest."""
    name = request.path.stem
    exchange = os.environ.get("PYEBPF_GUEST")
    return Path(exchange) / name if exchange else prepare_one(name, tmp_path_factory.mktemp("here") / name)
