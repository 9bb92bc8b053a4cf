"""Random typed trees mean the same to the evaluator and on the kernel."""

from __future__ import annotations

import pytest

from tests.kernel.build.random_trees import Maker
from tests.kernel.build.running import check


@pytest.mark.parametrize("seed", range(25))
def test_random_tree(seed: int) -> None:
    check(Maker(seed).program())
