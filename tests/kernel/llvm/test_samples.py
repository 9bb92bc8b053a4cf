"""The samples with LLVM's code: each says what it says with ours."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.samples.expected import EXPECTED, SAMPLES


@pytest.mark.skipif(os.geteuid() != 0, reason="loading and attaching needs root")
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_sample(name: str) -> None:
    command = ["-c", "import sys, pyebpf.cli; sys.exit(pyebpf.cli.main())", "run", "--codegen", "llvm"]
    done = subprocess.run(
        [sys.executable, *command, str(SAMPLES / f"{name}.py")],
        capture_output=True,
        text=True,
        timeout=60,
        input="\n",
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(EXPECTED[name], done.stdout), done.stdout
