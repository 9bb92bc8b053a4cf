"""The text of a translated function while it is written: lines that know their instruction, some of them needed only if
something later asks."""

from __future__ import annotations

from pyebpf.records import dataclass, field

_MOST_LEVELS = 60
"""Python's tokenizer takes 100 levels of indentation, its compiler 20 nested loops."""
_MOST_LOOPS = 15


class TooDeep(Exception):
    """The structure of a function nests deeper than Python allows."""


@dataclass(slots=True)
class Line:
    """A statement of the instruction at ``slot``; ``wanted`` lines are written."""

    level: int
    text: str
    slot: int
    wanted: bool = True


@dataclass(slots=True)
class Text:
    """The lines of one function. ``level`` is where the next one goes."""

    lines: list[Line] = field(default_factory=list)
    level: int = 1
    loops: int = 0
    slot: int = 0

    def add(self, text: str, *, wanted: bool = True) -> Line:
        """Write a statement of the current instruction."""
        line = Line(self.level, text, self.slot, wanted)
        self.lines.append(line)
        return line

    def indent(self, *, loop: bool = False) -> None:
        """Go one level deeper. Raises ``TooDeep``."""
        self.level += 1
        self.loops += loop
        if self.level > _MOST_LEVELS or self.loops > _MOST_LOOPS:
            raise TooDeep

    def dedent(self, *, loop: bool = False) -> None:
        """Go back; a level on which nothing was written gets a ``pass``."""
        for line in reversed(self.lines):
            if line.level < self.level:
                self.add("pass")
                break
            if line.wanted:
                break
        self.level -= 1
        self.loops -= loop
