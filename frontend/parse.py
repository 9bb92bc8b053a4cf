"""From a function object to its syntax tree with exact places in the user's file.

``parse_function`` finds the source as Python itself keeps it (files, IPython and notebook cells, anything in
``linecache``), parses the whole file, so that lines and columns are the file's own, and rebuilds just the wanted
function as an astroid node (``astroid_tree``).

``Source.span`` turns a node into a ``Span``: Python counts columns in UTF-8 bytes, people in characters.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import types
from functools import lru_cache

from pyebpf.codes import Code
from pyebpf.diagnostics import CompileError, Diagnostic, Span
from pyebpf.frontend.astroid_tree import rebuild
from pyebpf.frontend.edited import Definition, comparable, says_the_same
from pyebpf.hints import TYPE_CHECKING, Any
from pyebpf.records import dataclass, field

if TYPE_CHECKING:
    from astroid import nodes


@dataclass(frozen=True, slots=True)
class Source:
    """The lines of one file, to turn byte columns into character columns."""

    file: str
    lines: tuple[str, ...] = field(repr=False)

    def column(self, line: int, offset: int) -> int:
        """The column, counted from 1 in characters, of the byte ``offset`` of ``line``."""
        if not 1 <= line <= len(self.lines):
            return offset + 1
        text = self.lines[line - 1]
        if text.isascii():
            return offset + 1
        return len(text.encode()[:offset].decode(errors="replace")) + 1

    def span(self, node: Any) -> Span:
        """The place of an astroid node; of its nearest positioned parent where it has none (arguments)."""
        while node.col_offset is None or node.end_col_offset is None:
            node = node.parent
        return Span(
            self.file,
            node.lineno,
            self.column(node.lineno, node.col_offset),
            node.end_lineno,
            self.column(node.end_lineno, node.end_col_offset),
        )

    def name_span(self, node: Any) -> Span:
        """The place of a function's header: ``def name``."""
        place = node.position
        if place is None:
            return self.span(node)
        return Span(
            self.file,
            place.lineno,
            self.column(place.lineno, place.col_offset),
            place.end_lineno,
            self.column(place.end_lineno, place.end_col_offset),
        )


@dataclass(frozen=True, slots=True)
class Parsed:
    """The syntax tree of one function and the file that it is in."""

    source: Source
    node: nodes.FunctionDef
    definition: Definition = field(repr=False)  # the same as Python's own tree has it


def parse_function(function: types.FunctionType) -> Parsed:
    """The syntax tree of ``function``.

    Raises:
        CompileError: E0102 where Python keeps no source or the file has changed since it was imported (as far as
            ``pyebpf.frontend.edited`` can tell); E0103 for lambdas, generators and ``async`` functions.
    """
    code = function.__code__
    file = code.co_filename
    linecache.checkcache(file)
    # Equal code objects may come from different files, and from texts that differ in annotations: the text is the key.
    lines = tuple(linecache.getlines(file))
    header = _Header.of(code)
    parsed = _parse_code(lines, file, header, function.__qualname__)
    if comparable(function) and not says_the_same(function, parsed.definition, _parse_lines(lines), lines):
        raise CompileError([_edited(parsed.source.name_span(parsed.node), function.__qualname__)])
    return parsed


@dataclass(frozen=True, slots=True)
class _Header:
    """What tells one function of a file from the others, and plain functions from generators and coroutines."""

    name: str
    line: int
    flags: int

    @classmethod
    def of(cls, code: types.CodeType) -> _Header:
        return cls(code.co_name, code.co_firstlineno, code.co_flags)


@lru_cache(maxsize=512)
def _parse_code(lines: tuple[str, ...], file: str, header: _Header, name: str) -> Parsed:
    place = Span(file, header.line, 1, header.line, 1)
    if header.name == "<lambda>":
        raise CompileError([_not_plain(place, "a lambda cannot be compiled", "write it as a `def`")])
    if not lines:
        raise CompileError([_no_source(place, name, file)])
    definition = _find(_tree(lines, place, name, file), header)
    if definition is None:
        raise CompileError([_changed(place, name)])
    source = Source(file, tuple(text.rstrip("\n") for text in lines))
    if isinstance(definition, ast.AsyncFunctionDef) or header.flags & _NOT_PLAIN:
        at = source.name_span(rebuild(definition, "".join(lines)))
        raise CompileError(
            [
                _not_plain(
                    at,
                    f"`{header.name}` is a generator or coroutine",
                    "return values instead of yielding them",
                )
            ]
        )
    return Parsed(source, rebuild(definition, "".join(lines)), definition)


_NOT_PLAIN = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


@lru_cache(maxsize=32)
def _parse_lines(lines: tuple[str, ...]) -> ast.Module:
    return ast.parse("".join(lines))


def _tree(lines: tuple[str, ...], place: Span, name: str, file: str) -> ast.Module:
    try:
        return _parse_lines(lines)
    except SyntaxError:
        # What linecache has is not what Python compiled: an edited file, or a magic line in a notebook cell.
        raise CompileError([_changed(place, name)]) from None


def _find(tree: ast.Module, header: _Header) -> Definition | None:
    """The definition with this header: the name and first line (that of the first decorator) must be the same."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == header.name:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if first == header.line:
                return node
    return None


def _no_source(place: Span, name: str, file: str) -> Diagnostic:
    return Diagnostic(
        Code.E0102,
        f"the source of `{name}` is not available",
        place,
        notes=(
            f"Python keeps no text for `{file}`; functions made with `exec` or in a bare interactive session have none",
        ),
        help=("put the function into a file, an IPython session or a notebook cell",),
    )


def _changed(place: Span, name: str) -> Diagnostic:
    return Diagnostic(
        Code.E0102,
        f"the source of `{name}` is not where Python says it is",
        place,
        notes=("the file has probably changed since it was imported",),
        help=("import it again",),
    )


def _edited(place: Span, name: str) -> Diagnostic:
    return Diagnostic(
        Code.E0102,
        f"`{name}` has changed in its file since it was imported",
        place,
        notes=("Python still has the function as it was, with the objects and values of that time",),
        help=("import it again",),
    )


def _not_plain(place: Span, message: str, instead: str) -> Diagnostic:
    return Diagnostic(Code.E0103, message, place, help=(instead,))
