"""From an instruction to the piece of source that it belongs to."""

from __future__ import annotations

import linecache
import re

from pyebpf.diagnostics import Span
from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import LineInfo
from pyebpf.records import dataclass
from pyebpf.runtime.rejection.source import Source

if TYPE_CHECKING:
    from typing import Final


_WORD: Final = re.compile(r"[*&!~-]*[^\W\d]\w*|\d\w*")
_MEMBER: Final = re.compile(r"(?:\.|->)[^\W\d]\w*")
_COMMENT: Final = re.compile(r"\s*(?:;|//|#).*")
_OPEN: Final = {"(": ")", "[": "]"}


@dataclass(frozen=True, slots=True)
class Place:
    """``span``: the piece; ``line``: the whole line, which the file itself may not have (any more)."""

    span: Span
    line: str

    @property
    def text(self) -> str:
        """The piece."""
        return self.line[max(self.span.column - 1, 0) : self.span.end_column - 1]


def place_of(source: Source, slot: int, instruction: str) -> Place:
    """The place of the instruction at ``slot``, whose disassembly is ``instruction``; without line records that is the
    instruction itself, in column 0."""
    record = source.line(slot)
    if record is None or not record.line:
        return Place(Span(source.function(slot), slot, 0, slot, len(instruction) + 1), instruction)
    line, column = _line(record, source.ours)
    start = max(column, 1)
    end = _end(line, start) if column else len(line) + 1
    if end is None:
        end = start + len(_COMMENT.sub("", line[start - 1 :]))
    return Place(Span(record.file, record.line, start, record.line, max(end, start + 1)), line)


def _line(record: LineInfo, python: bool) -> tuple[str, int]:
    """The whole line and a column in it, 0 where only the line is known. The file's own line is taken where it is still
    the one that was compiled.

    Lines that pyebpf records have lost their indentation, so that their column is good in the file only.
    """
    known = record.text.strip()
    line = linecache.getline(record.file, record.line).rstrip("\n")
    if line and (not known or not line.isascii() or line.strip().startswith(known)):
        return line, record.column
    if python and not record.text[:1].isspace():
        return known, 0
    return record.text, record.column


def _end(line: str, column: int) -> int | None:
    """The column behind the name, with members, indices and arguments, that starts at ``column``, if one does."""
    word = _WORD.match(line, column - 1)
    if word is None:
        return None
    at = word.end()
    while at < len(line):
        member = _MEMBER.match(line, at)
        if member:
            at = member.end()
        elif line[at] in _OPEN and (closed := _closed(line, at)):
            at = closed
        else:
            break
    return at + 1


def _closed(line: str, start: int) -> int | None:
    """Behind the bracket that closes the one at ``start``, if it is on the line."""
    waiting: list[str] = []
    for at in range(start, len(line)):
        if line[at] in _OPEN:
            waiting.append(_OPEN[line[at]])
        elif waiting and line[at] == waiting[-1]:
            waiting.pop()
            if not waiting:
                return at + 1
    return None
