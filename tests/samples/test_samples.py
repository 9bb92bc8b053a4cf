"""Every sample does its job on real packets: each runs as a user runs it, and says what it is expected to say."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.samples.expected import EXPECTED, SAMPLES, SUPPORT
from tests.samples.traced import TRACED


def test_every_sample_is_tested() -> None:
    assert {p.stem for p in SAMPLES.glob("*.py")} - SUPPORT == {*EXPECTED, *TRACED}


@pytest.mark.parametrize("name", sorted({*EXPECTED, *TRACED}))
def test_samples_are_short_and_say_what_they_show(name: str) -> None:
    text = (SAMPLES / f"{name}.py").read_text()
    assert text.startswith('"""')
    assert len(text.splitlines()) <= 100


@pytest.mark.skipif(os.geteuid() != 0, reason="loading and attaching needs root")
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_sample(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(SAMPLES / f"{name}.py")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(SAMPLES.parent)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert re.fullmatch(EXPECTED[name], done.stdout), done.stdout
