"""The tracing samples that any kernel runs; the others run in guests (``tests/vm/guest/test_traced.py``)."""

from __future__ import annotations

import os

import pytest

from tests.samples.traced import TRACED, Needs, check


@pytest.mark.skipif(os.geteuid() != 0, reason="loading and attaching needs root")
@pytest.mark.parametrize("name", sorted(n for n, t in TRACED.items() if t.needs is Needs.NOTHING))
def test_traced(name: str) -> None:
    check(name, 5)
