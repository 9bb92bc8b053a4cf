"""The tracing samples that need what the host's kernel may lack: kprobes, and programs on functions by type."""

from __future__ import annotations

import pytest

from tests.samples.traced import TRACED, Needs, check


@pytest.mark.parametrize("name", sorted(n for n, t in TRACED.items() if t.needs is not Needs.NOTHING))
def test_traced(name: str) -> None:
    check(name, 10)
