"""The samples: their objects, built on the host, leave what they leave there, and each does its job on real packets."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.samples.expected import EXPECTED, SAMPLES
from tests.vm.cases import Case, Fate, pinned, read_cases, try_case, write_cases

PACKETS = 6
"""So many times the five packets of a valid program."""


def prepare(folder: Path) -> None:
    """Compile every program for 6.1, run it on the host's kernel, and keep what it left."""
    from pyebpf.target import Target
    from tests.vm.building import built_cases, sample

    for name in EXPECTED:
        with sample(name) as module:
            cases = built_cases(module, name, Target(kernel=(6, 1)), PACKETS)
        write_cases(folder / name, cases)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_objects_leave_what_they_leave_on_the_host(name: str, prepared: Path) -> None:
    cases: tuple[Case, ...] = read_cases(prepared / name)
    assert cases
    for case in cases:
        with pinned():
            result = try_case(case)
        assert result.fate is Fate.RIGHT, f"{case.name}: {result.fate.value}\n{result.text}"
        assert result.runs == len(case.frames)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_sample(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(SAMPLES / f"{name}.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{SAMPLES.parent}"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert re.fullmatch(EXPECTED[name], done.stdout), done.stdout
