"""Our samples say what bpftrace's tools say of the same workload."""

from __future__ import annotations

import pytest

from tests.side_by_side.pairs import PAIRS, obstacle

_OBSTACLE = obstacle()


@pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))
@pytest.mark.parametrize("name", PAIRS)
def test_equal(name: str) -> None:
    found = PAIRS[name].run()
    assert found.equal, f"{found.detail}\nours   {found.ours}\ntheirs {found.theirs}"
