"""What the compiler has to say to its user, as data: spans, labels, diagnostics, and the exceptions that carry them.

Rendering for a terminal is in this module too (``render``); the table of codes is in ``pyebpf.codes``.
This is the bottom of the floor: it imports nothing of pyebpf but the table of codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass, field

if TYPE_CHECKING:
    from typing import Final

    from pyebpf.codes import Code

file_titles: list[Callable[[str], str | None]] = []
"""Functions that know better names for files, such as those that notebooks give to their cells; ``None``: no."""


def file_title(file: str) -> str:
    """The name of a file as people know it."""
    return next((title for known in file_titles if (title := known(file)) is not None), file)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A piece of source text. Lines and columns count from 1; the end column is the first one *after* the text.

    Column 0 says that the place is an instruction without a source line: ``file`` names its function, ``line`` its slot.
    """

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        if self.column == 0:
            return f"function {self.file}, instruction {self.line}"
        return f"{file_title(self.file)}:{self.line}:{self.column}"

    def through(self, other: Span) -> Span:
        """The span from the start of this one to the end of ``other`` (same file)."""
        return Span(self.file, self.line, self.column, other.end_line, other.end_column)


@dataclass(frozen=True, slots=True)
class Label:
    """A secondary place that takes part in a diagnostic, with a few words about its part."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One refusal: a code, one primary span, and the words about it.

    ``message`` says what is wrong (lower case, code in backticks, no full stop); ``label`` stands beside the
    carets; ``notes`` say why; ``help`` alone says what to write instead. ``texts``: the lines of places whose files
    may not be at hand, as (file, line, text).
    """

    code: Code
    message: str
    span: Span
    label: str = ""
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: tuple[str, ...] = ()
    texts: tuple[tuple[str, int, str], ...] = ()


class PyebpfError(Exception):
    """The base of every exception that pyebpf raises on purpose.

    ``tells_all``: its text is a rendered diagnostic, which nothing has to be put in front of.
    """

    tells_all = False


class CompileError(PyebpfError):
    """The program was refused; ``diagnostics`` holds every reason, in source order."""

    tells_all = True

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        super().__init__("\n\n".join(render(d) for d in self.diagnostics))

    def _render_traceback_(self) -> list[str]:
        """What IPython and notebooks show instead of a traceback: frames of the compiler tell a user nothing."""
        return [paint(text) for text in str(self).splitlines()]


class InternalError(PyebpfError):
    """A bug in pyebpf itself, never the user's mistake: names the pass, the function and the source line."""

    def __init__(self, message: str, *, phase: str, function: str = "", span: Span | None = None) -> None:
        self.phase = phase
        self.function = function
        self.span = span
        where = f" in function {function!r}" if function else ""
        at = f" at {span}" if span else ""
        super().__init__(
            f"pyebpf bug in {phase}{where}{at}: {message} (this is our mistake, please report it)"
        )


@dataclass(slots=True)
class Diagnostics:
    """Collects what one compilation reports, so that all errors of a function come in one go."""

    found: list[Diagnostic] = field(default_factory=list)

    def report(self, diagnostic: Diagnostic) -> None:
        """Keep ``diagnostic``; a second one with the same code at the same place is dropped."""
        if not any(d.code is diagnostic.code and d.span == diagnostic.span for d in self.found):
            self.found.append(diagnostic)

    def raise_if_any(self) -> None:
        """Raise ``CompileError`` with everything reported so far, if there is anything."""
        if self.found:
            raise CompileError(sorted(self.found, key=lambda d: d.span))


def source_line(span: Span) -> str:
    """The first source line of ``span`` without its newline; empty where the source is not available."""
    import linecache

    return linecache.getline(span.file, span.line).rstrip("\n")


def _marks(span: Span, line: str, text: str, width: int, mark: str) -> str:
    column = max(span.column, 1)
    end = span.end_column if span.end_line == span.line else len(line) + 1
    pad = "".join("\t" if c == "\t" else " " for c in line[: column - 1])
    carets = mark * max(1, end - column)
    return f"{'':>{width}} | {pad}{carets} {text}".rstrip()


def render(diagnostic: Diagnostic) -> str:
    """``diagnostic`` as plain text with the source lines and carets, in the manner of rustc."""
    spans = [diagnostic.span, *(label.span for label in diagnostic.labels)]
    width = max(len(str(s.line)) for s in spans)
    out = [f"error[{diagnostic.code.name}]: {diagnostic.message}", f"{'':>{width}}--> {diagnostic.span}"]
    out.append(f"{'':>{width}} |")
    parts = [(diagnostic.span, diagnostic.label, "^")]
    parts += [(label.span, label.text, "-") for label in diagnostic.labels]
    file = diagnostic.span.file
    texts = {(name, number): line for name, number, line in diagnostic.texts}
    shown: tuple[str, int] | None = None
    for span, text, mark in sorted(parts, key=lambda p: (p[0].file != file, p[0])):
        if span.file != file:
            file = span.file
            out.append(f"{'':>{width}}::: {span}")
        place = span.file, span.line
        line = texts[place] if place in texts else source_line(span)
        if place != shown:
            out.append(f"{span.line:>{width}} | {line}".rstrip())
            shown = place
        out.append(_marks(span, line, text, width, mark))
    for word, remarks in (("note", diagnostic.notes), ("help", diagnostic.help)):
        start = f"{'':>{width}} = {word}: "
        out.extend(start + text.replace("\n", "\n" + " " * len(start)) for text in remarks)
    return "\n".join(out)


_RED, _BLUE, _CYAN, _BOLD, _PLAIN = "\033[1;31m", "\033[1;34m", "\033[36m", "\033[1m", "\033[0m"
_PARTS: Final = (
    (r"^(error\[\w+\])(: .*)$", rf"{_RED}\1{_PLAIN}{_BOLD}\2{_PLAIN}"),
    (r"^( *-->|:::) (.*)$", rf"{_BLUE}\1{_PLAIN} \2"),
    (r"^( *\|\s+)(\^+.*)$", rf"{_BLUE}\1{_RED}\2{_PLAIN}"),
    (r"^( *\|\s+)(-+.*)$", rf"{_BLUE}\1\2{_PLAIN}"),
    (r"^( *\d* \|)", rf"{_BLUE}\1{_PLAIN}"),
    (r"^( *)(= (?:note|help):)", rf"\1{_CYAN}\2{_PLAIN}"),
)


def paint(line: str) -> str:
    """A line of a rendered diagnostic with colours for a terminal (ECMA-48, which notebooks understand too)."""
    import re

    for pattern, coloured in _PARTS:
        if re.match(pattern, line):
            return re.sub(pattern, coloured, line)
    return line
