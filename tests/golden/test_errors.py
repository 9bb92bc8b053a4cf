"""Wrong programs: each gives exactly the diagnostics that its comments expect, and the whole text beside it.

``# error: E0304`` on a line is written by hand and says which codes are to be reported there. The rendered text,
carets included, is in the ``.txt`` of the same name; ``pytest --bless`` writes it anew (never in CI).
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path

import pytest

from pyebpf.codes import Code
from pyebpf.declare import LICENSES, ProgramDecl, declaration_of
from pyebpf.diagnostics import CompileError, Diagnostic, render
from pyebpf.frontend.infer import analyze
from pyebpf.target import Target
from tests.kernel_facts import SmallKernel

FOLDER = Path(__file__).parent / "errors"
CASES = sorted(FOLDER.glob("*.py"))
_EXPECTED = re.compile(r"# error: (?P<codes>E\d{4}(?: E\d{4})*)")
# Codes that come from elsewhere: the driver, or the absence of a file.
_ELSEWHERE = {"E0102", "E0111"}


def expectations(path: Path) -> list[tuple[int, str]]:
    """The line and code of every expected diagnostic."""
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = _EXPECTED.search(line)
        if match:
            found += [(number, code) for code in match["codes"].split()]
    return found


def diagnostics(path: Path) -> list[Diagnostic]:
    """Everything that is reported about the programs of a file, for Linux 6.1."""
    name = f"golden_errors_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    LICENSES.pop(name, None)
    try:
        spec.loader.exec_module(module)
        programs = [declaration_of(value) for value in vars(module).values()]
        declared = [p for p in programs if isinstance(p, ProgramDecl)]
        assert declared, "no program"
        licence = LICENSES.get(name)
        analyze(declared, Target(kernel=(6, 1)), licence.text if licence else None, SmallKernel())
    except CompileError as error:
        return list(error.diagnostics)
    finally:
        del sys.modules[name]
    return []


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_wrong_program(path: Path) -> None:
    """The codes are those of the comments, the text is that of the golden file."""
    found = diagnostics(path)
    expected = expectations(path)
    assert expected, "no expectation"
    assert [(d.span.line, d.code.name) for d in found] == expected, "\n\n".join(render(d) for d in found)
    text = "\n\n".join(render(d) for d in found).replace(f"{FOLDER}/", "") + "\n"
    golden = path.with_suffix(".txt")
    if os.environ.get("PYEBPF_BLESS"):
        golden.write_text(text)
    assert golden.exists(), f"write it with --bless:\n{text}"
    assert text == golden.read_text()


def test_every_code_has_a_case() -> None:
    """Every code of the front end appears in one of the cases."""
    shown = {code for path in CASES for _, code in expectations(path)}
    front = {code.name for code in Code if code.name < "E10" or code.name >= "E12"} - _ELSEWHERE
    assert front - shown == set()
