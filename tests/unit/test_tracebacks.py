"""What a user sees of an exception that nobody handles: the own line that called pyebpf, and what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """\
import pyebpf as bpf
{before}

@bpf.xdp
def program(ctx: bpf.Xdp) -> int:
    return nothing

def use():
    {use}

use()
"""


def said(folder: Path, before: str, use: str) -> str:
    """The error output of the program."""
    file = folder / "used.py"
    file.write_text(PROGRAM.format(before=before, use=use))
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    return done.stderr.replace(str(file), "used.py").replace("    ~~~~~~~~~~~~~^^\n", "")


@pytest.mark.parametrize(
    "use", ["program.compile()", "program.load()", "program.run(bytes(64))", "program.ir"]
)
def test_frames_of_the_compiler_are_not_shown(use: str, tmp_path: Path) -> None:
    text = said(tmp_path, "", use)
    frames = [line for line in text.splitlines() if line.startswith('  File "')]
    assert frames == ['  File "used.py", line 11, in <module>', '  File "used.py", line 9, in use']
    assert text.endswith(
        "pyebpf.diagnostics.CompileError: error[E0201]: the name `nothing` is not defined\n"
        " --> used.py:6:12\n  |\n6 |     return nothing\n  |            ^^^^^^^\n"
    )


def test_other_hooks_are_called(tmp_path: Path) -> None:
    before = "import sys\nsys.excepthook = lambda *args: print('mine', len(args), file=sys.stderr)\nbpf.tracebacks.install()"
    assert said(tmp_path, before, "program.compile()") == "mine 3\n"


def test_other_exceptions_and_mistakes_of_pyebpf_stay_whole(tmp_path: Path) -> None:
    assert "in __call__" in said(tmp_path, "", "program()")
    internal = "from pyebpf.diagnostics import InternalError\nfrom pyebpf.frontend import infer\n"
    internal += "def broken(*_, **__): raise InternalError('no', phase='here')\ninfer.analyze = broken"
    text = said(tmp_path, internal, "program.compile()")
    assert "driver.py" in text
    assert "pyebpf bug in here: no" in text
