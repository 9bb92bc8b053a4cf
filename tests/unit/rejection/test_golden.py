"""Recorded refusals: each gives the code and line that its source expects by hand, and the whole text beside it."""

from __future__ import annotations

import os
import re

import pytest

from pyebpf.codes import Code
from tests.golden.rejected import FOLDER, Case, cases, read_log

CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refusal(case: Case) -> None:
    """The code and the place are those of the comment, the text is that of the golden file."""
    error = read_log(case.path)
    diagnostic = error.diagnostic
    code, line = case.expected
    text = str(error).replace(f"{FOLDER}/", "") + "\n"
    assert diagnostic.code.name == code, text
    if diagnostic.span.column:
        assert diagnostic.span.line == line, text
    else:
        assert not error.source or not error.source.lines, text
    if os.environ.get("PYEBPF_BLESS"):
        case.golden.write_text(text)
    assert case.golden.exists(), f"write it with --bless:\n{text}"
    assert text == case.golden.read_text()


def test_there_are_enough_real_ones() -> None:
    recorded = [case for case in CASES if case.source is not None]
    assert len(recorded) >= 60
    assert len(CASES) - len(recorded) >= 6
    assert all("recorded on Linux" in case.path.read_text() for case in recorded)
    assert all("written by hand" in case.path.read_text() for case in CASES if case.source is None)


def test_nearly_every_code_has_one() -> None:
    """Those without are provoked by kernels or machines that are not these; ``test_table`` has their messages."""
    shown = {case.expected[0] for case in CASES}
    ours = {code.name for code in Code if code.name.startswith("E11")}
    assert ours - shown == {"E1119", "E1131"}


def test_no_file_is_left_over() -> None:
    names = {case.name for case in CASES}
    assert {path.stem for path in FOLDER.iterdir() if path.is_file()} == names


def test_the_examples_of_the_documentation_are_recorded_ones() -> None:
    """Each block of docs/rejections.md that shows a log or a diagnostic is the end or the beginning of a file."""
    text = (FOLDER.parents[2] / "docs" / "rejections.md").read_text()
    blocks = re.findall(r"The kernel:\n\n```\n(.*?)```\n\npyebpf:\n\n```\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    for log, shown in blocks:
        (case,) = [c for c in CASES if c.golden.read_text().startswith(shown)]
        assert case.path.read_text().endswith(log)
