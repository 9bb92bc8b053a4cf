"""The machines notice planted faults: some in seconds here, all by ``python -m tests.differential.faults``."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.differential.faults import QUICK, fault_of, try_fault
from tests.differential.plant import Machine, planted
from tests.differential.planted import FAULTS, Area, Fault

LIMIT = 100
SEED = 0


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_what_is_replaced_is_still_there(fault: Fault) -> None:
    """Exactly once, and what comes in its place is Python."""
    compile(planted(fault), fault.file, "exec")
    assert fault.old != fault.new


def test_all_areas_have_faults() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names) >= 25
    counts = Counter(fault.area for fault in FAULTS)
    assert all(counts[area] >= 4 for area in Area)


@pytest.mark.skipif(os.geteuid() != 0, reason="running programs on the kernel needs root")
@pytest.mark.parametrize("name", QUICK)
def test_planted_faults_are_noticed(name: str) -> None:
    report = try_fault(fault_of(name), SEED, LIMIT)
    assert report.caught
    for finding in report.findings:
        assert finding.machine is not Machine.CLOCK
