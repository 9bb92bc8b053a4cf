"""Scratch memory where tasks preempt each other inside of programs (``tests.vm.preempted``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.preempted import ENOUGH, private, provoke, shared

pytestmark = pytest.mark.kernels(before=(6, 12))


@pytest.fixture(autouse=True)
def _affinity() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)


def test_the_kernel_was_booted_with_full_preemption() -> None:
    assert "preempt=full" in Path("/proc/cmdline").read_text().split()


def test_one_value_for_all_is_seen_by_two() -> None:
    end = provoke(shared)
    assert end.met >= ENOUGH
    assert end.wrong > 0


def test_scratch_memory_is_seen_by_one() -> None:
    end = provoke(private)
    assert end.met >= ENOUGH
    assert end.wrong == 0
