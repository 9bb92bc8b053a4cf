"""Places: from records of lines to spans, whether the file is at hand or not; and the text of the exception."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pyebpf import btf
from pyebpf.diagnostics import Span
from pyebpf.editors import plain
from pyebpf.object import LineInfo, Linkage, ObjectSpec, ProgramSpec
from pyebpf.runtime.errors import VerifierError
from pyebpf.runtime.prepare import prepare
from pyebpf.runtime.rejection.place import place_of
from pyebpf.runtime.rejection.source import Source, read_source
from pyebpf.uapi.constants import ProgType

FUNC = btf.Func("prog", btf.FuncProto(btf.INT, (btf.Param("ctx", btf.Ptr(None)),)), btf.FuncLinkage.GLOBAL)


def test_records_are_read_back() -> None:
    lines = (LineInfo(0, "a.py", 7, 5, "return x"), LineInfo(1, "a.py", 9, 1023, "y"))
    code = bytes.fromhex("b7000000000000009500000000000000")
    program = ProgramSpec("prog", code, Linkage.GLOBAL, (), lines, type=FUNC, prog_type=ProgType.XDP)
    prepared = prepare(ObjectSpec({"prog": program}))
    (made,) = prepared.programs
    source = read_source("prog", "XDP", made.func_info, made.line_info, prepared.types)
    assert source == Source("prog", "XDP", lines, ((0, "prog"),))
    assert source.ours
    assert source.line(0) == lines[0] and source.line(5) == lines[1]
    assert source.function(1) == "prog"
    broken = read_source("prog", "XDP", made.func_info, made.line_info, b"")
    assert broken == Source("prog", "XDP") and not broken.ours
    assert broken.line(0) is None and broken.function(3) == "prog"


def one(file: str, line: int, column: int, text: str) -> Source:
    return Source("prog", "XDP", (LineInfo(0, file, line, column, text),))


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A file with one line of interest."""
    path = tmp_path / "lines.py"
    path.write_text("x = 1\n    found = table.entries[f(queue)] + 1  # why\n")
    return str(path)


@pytest.mark.parametrize(
    "column, text",
    [
        (13, "table.entries[f(queue)]"),
        (27, "f(queue)"),
        (29, "queue"),
        (5, "found"),
        (37, "+ 1"),
        (99, ""),
    ],
)
def test_the_piece_that_starts_at_a_column(file: str, column: int, text: str) -> None:
    recorded = "found = table.entries[f(queue)] + 1  # why"
    place = place_of(one(file, 2, column, recorded), 0, "exit")
    assert (place.text, place.span.line) == (text, 2)
    assert place.span.end_column > place.span.column


def test_a_file_that_was_edited_is_not_shown(file: str) -> None:
    place = place_of(one(file, 2, 13, "found = other"), 0, "exit")
    assert (place.line, place.text, place.span.column) == ("found = other", "found = other", 1)


def test_other_languages_record_whole_lines() -> None:
    place = place_of(one("gone.c", 9, 12, "\treturn v->count;"), 0, "exit")
    assert place.text == "count"
    place = place_of(one("gone.c", 9, 9, "\treturn *v->count; // bad"), 0, "exit")
    assert place.text == "*v->count"


def test_without_records_the_instruction_is_the_place() -> None:
    source = Source("prog", functions=((0, "prog"), (4, "look")))
    place = place_of(source, 5, "r0 = 7")
    assert place.span == Span("look", 5, 0, 5, 7)
    assert str(place.span) == "function look, instruction 5"


def test_the_text_of_the_exception(file: str) -> None:
    log = "0: R1=ctx() R10=fp0\n0: (79) r0 = *(u64 *)(r1 +0)\nR1 invalid mem access 'scalar'\n"
    error = VerifierError(errno.EACCES, "prog", log, one(file, 1, 1, "x = 1"))
    text = str(error)
    assert text.startswith("error[E1102]: ")
    assert error.diagnostic is error.diagnostic
    last = text.splitlines()[-1]
    assert last.startswith("cannot load the program 'prog': EACCES; `.log` of this exception")
    assert f"`pyebpf log {file} prog`" in last
    assert "R1 invalid mem access" in error.log
    bare = VerifierError(errno.EACCES, "prog", log)
    assert "--> function prog, instruction 0" in str(bare)
    assert "pyebpf log" not in str(bare).splitlines()[-1]
    assert error._render_traceback_()[0].startswith("\033[")


def test_objects_for_editors(file: str) -> None:
    log = "0: R1=ctx() R10=fp0\n0: (79) r0 = *(u64 *)(r1 +0)\nR1 invalid mem access 'scalar'\n"
    told = plain(VerifierError(errno.EACCES, "prog", log, one(file, 1, 1, "x = 1")).diagnostic)
    assert (told["file"], told["range"]["start"]) == (file, {"line": 1, "column": 1})
    assert told["notes"][0] == "the kernel said: R1 invalid mem access 'scalar'"
    assert "instruction" not in told
    bare = plain(VerifierError(errno.EACCES, "prog", log).diagnostic)
    assert (bare["file"], bare["instruction"], bare["range"]["end"]["line"]) == ("", 0, 0)
