"""A series of generated programs on every run of the tests; ``tests/differential/harness.py`` runs longer ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.differential.harness import run
from tests.differential.judge import Verdict, pinned

SERIES = 24
LENGTH = 10
CHECKED = 2
"""Of each series so many programs are compiled with the SSA verified after every pass."""


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """Per-CPU maps are compared on one CPU."""
    with pinned():
        yield


@pytest.mark.parametrize("series", range(SERIES))
def test_generated_programs_mean_the_same_everywhere(series: int, one_cpu: None) -> None:
    for number in range(LENGTH):
        seed, judgement, _ = run(series * LENGTH + number, check=number < CHECKED)
        assert judgement.verdict is Verdict.AGREED, (
            f"seed {seed}: {judgement.verdict.value}\n{judgement.text}"
        )
