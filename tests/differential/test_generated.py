"""A series of generated programs on every run of the tests; ``tests/differential/harness.py`` runs longer ones."""

from __future__ import annotations

import os

import pytest

from tests.differential.harness import Tally, run

SERIES = 40
LENGTH = 5


@pytest.mark.skipif(os.geteuid() != 0, reason="running programs on the kernel needs root")
@pytest.mark.parametrize("series", range(SERIES))
def test_generated_programs_mean_the_same_everywhere(series: int) -> None:
    tally = Tally()
    for seed in range(series * LENGTH, (series + 1) * LENGTH):
        run(seed, tally)
    assert not tally.refused, tally.refused[0]
    assert not tally.rejected, tally.rejected[0]
    assert not tally.mismatches, tally.mismatches[0]
    assert tally.programs == LENGTH
