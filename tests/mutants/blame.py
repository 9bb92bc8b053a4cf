"""Whether a refusal blames what a mutation made wrong, decided on the texts before and after it.

In the order in which they are tried, a diagnostic is at its place where its span (or, last, one of its labels)

- ``LINE``: is in a statement that the mutation changed, or the one that now stands where it took one away;
- ``NAME``: is in a line with a name that a changed statement binds, tests, releases or no longer has;
- ``FLOW``: is in a line with a name whose value was made of such a name;
- ``SIGNATURE``: is in the header of the function around the change, or a ``return`` of one whose header changed;
- ``BLOCK``: is in the header of a compound statement around the change (a loop whose counter is no longer changed);
- ``LICENCE``: is a service that is not for the licence that the mutation changed;
- ``LABEL``: has a label at such a place.

All others are ``ELSEWHERE``: people read them.
"""

from __future__ import annotations

import ast
import difflib
import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from pyebpf.codes import Code
from pyebpf.diagnostics import Diagnostic, Span
from tests.mutants.corpus import used


class Blame(enum.Enum):
    """Why the place of a diagnostic is right; the last one says that it may be wrong."""

    LINE = "the changed statement"
    NAME = "a name that the changed statement binds, tests or lost"
    FLOW = "a value made of such a name"
    SIGNATURE = "the header of the function"
    BLOCK = "the header of a block around the change"
    LICENCE = "a service that the changed licence does not allow"
    LABEL = "a label at such a place"
    ELSEWHERE = "elsewhere"


COMMON = frozenset(
    {"bpf", "range", "len", "u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "be16", "be32", "be64"}
)
"""Names that say nothing about what a statement is about."""


@dataclass(frozen=True)
class Change:
    """What a mutation did to a text."""

    before: str
    after: str

    @cached_property
    def lines(self) -> tuple[set[int], set[int]]:
        """The lines that changed: of the text before, of the text after."""
        old, new = self.before.splitlines(), self.after.splitlines()
        gone: set[int] = set()
        come: set[int] = set()
        for _, a, b, c, d in _changes(old, new):
            gone |= set(range(a + 1, b + 1))
            come |= set(range(c + 1, d + 1)) or {c + 1}
        return gone, come

    @cached_property
    def trees(self) -> tuple[ast.Module, ast.Module]:
        """Both texts."""
        return ast.parse(self.before), ast.parse(self.after)

    @cached_property
    def licence_changed(self) -> bool:
        """Whether it is the statement of the licence that changed."""
        return any("license(" in self.before.splitlines()[line - 1] for line in self.lines[0])

    @cached_property
    def names(self) -> set[str]:
        """What the changed statements bind, test, release, or name on one side only."""
        found: list[set[str]] = []
        mentioned: list[set[str]] = []
        for module, lines in zip(self.trees, self.lines, strict=True):
            changed = [node for node in ast.walk(module) if _begins_in(node, lines)]
            found += [_concerned(node) for node in changed]
            mentioned.append({name for node in changed for name in _header_names(node)})
        found.append(mentioned[0] ^ mentioned[1])
        for module, lines in zip(self.trees, self.lines, strict=True):
            found += [
                _tested(node) for node in _around(module, lines) if isinstance(node, ast.If | ast.While)
            ]
            found += [
                {node.name}
                for node in _around(module, lines)
                if isinstance(node, ast.FunctionDef | ast.ClassDef)
            ]
        return set().union(*found) - COMMON

    @cached_property
    def derived(self) -> set[str]:
        """The names, and all whose values are made of them."""
        known = set(self.names)
        statements = [node for node in ast.walk(self.trees[1]) if isinstance(node, ast.stmt | ast.withitem)]
        while True:
            more = set().union(*(_bound(s) for s in statements if _mentioned(s) & known)) - known
            if not more:
                return known - COMMON
            known |= more

    def place(self, span: Span) -> Blame:
        """What kind of place a span is."""
        _, come = self.lines
        module = self.trees[1]
        covered = set(range(span.line, span.end_line + 1))
        if covered & come or any(_statement_lines(module, line) & covered for line in come):
            return Blame.LINE
        there = set().union(*(_mentioned(node) for node in _at(module, covered)))
        if there & self.names:
            return Blame.NAME
        if there & self.derived:
            return Blame.FLOW
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef) and _header(node) & come and _returns(node) & covered:
                return Blame.SIGNATURE
        for node in _around(module, come):
            if isinstance(node, ast.FunctionDef) and covered & _header(node):
                return Blame.SIGNATURE
            if covered & _header(node):
                return Blame.BLOCK
        return Blame.ELSEWHERE

    def blame(self, diagnostic: Diagnostic) -> Blame:
        """What kind of place a diagnostic is at."""
        place = self.place(diagnostic.span)
        if place is not Blame.ELSEWHERE:
            return place
        about_licence = diagnostic.code is Code.E0804 or any(
            "bpf.license(" in note for note in diagnostic.notes
        )
        if about_licence and self.licence_changed:
            return Blame.LICENCE
        labelled = any(self.place(label.span) is not Blame.ELSEWHERE for label in diagnostic.labels)
        return Blame.LABEL if labelled else Blame.ELSEWHERE


def _changes(old: list[str], new: list[str]) -> Iterator[tuple[str, int, int, int, int]]:
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return (code for code in matcher.get_opcodes() if code[0] != "equal")


def _header(node: ast.AST) -> set[int]:
    """The lines of a statement without those of its blocks."""
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])  # type: ignore[attr-defined]
    body = getattr(node, "body", None) or getattr(node, "cases", None)
    if isinstance(node, ast.match_case):
        return set()
    last = body[0].lineno - 1 if isinstance(body, list) and isinstance(body[0], ast.stmt) else node.end_lineno  # type: ignore[attr-defined]
    return set(range(first, max(first, last) + 1))


def _begins_in(node: ast.AST, lines: Iterable[int]) -> bool:
    return isinstance(node, ast.stmt | ast.ExceptHandler) and not _header(node).isdisjoint(lines)


def _around(module: ast.Module, lines: set[int]) -> Iterator[ast.stmt]:
    """The compound statements around some lines."""
    for node in ast.walk(module):
        if isinstance(node, ast.stmt) and getattr(node, "body", None):
            inside = set(range(min(_header(node)), (node.end_lineno or node.lineno) + 1))
            if inside & lines:
                yield node


def _statement_lines(module: ast.Module, line: int) -> set[int]:
    """All lines of the smallest statement that begins in a line."""
    found = [node for node in ast.walk(module) if isinstance(node, ast.stmt) and node.lineno == line]
    return set().union(*(_header(node) for node in found))


def _at(module: ast.Module, lines: set[int]) -> Iterator[ast.stmt]:
    """The statements whose own lines are among ``lines``."""
    return (node for node in ast.walk(module) if isinstance(node, ast.stmt) and _header(node) & lines)


def _returns(function: ast.FunctionDef) -> set[int]:
    """The lines of the ``return`` statements of a function."""
    found = [_header(node) for node in ast.walk(function) if isinstance(node, ast.Return)]
    return set().union(*found)


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """A statement without the statements in it."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.stmt):
            yield from _own(child)


def _mentioned(node: ast.AST) -> set[str]:
    """The names, fields and methods of a statement, without those of its blocks."""
    found: set[str] = set()
    for part in _own(node):
        match part:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                found.add(name)
            case ast.arg(arg=name) | ast.keyword(arg=str(name)):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Nonlocal(names=names) | ast.Global(names=names):
                found |= set(names)
    return found


def _header_names(node: ast.AST) -> set[str]:
    return _mentioned(node) - COMMON


def _bound(node: ast.AST) -> set[str]:
    """The names that a statement binds, and the objects in which it stores."""
    found: set[str] = set()
    for part in _own(node):
        match part:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                found.add(name)
            case ast.Attribute(value=value, ctx=ast.Store()) | ast.Subscript(value=value, ctx=ast.Store()):
                found |= used(value)
            case ast.ExceptHandler(name=str(name)) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.arg(arg=name):
                found.add(name)
    return found


def _tested(node: ast.AST) -> set[str]:
    """The names in the test of a statement."""
    test = getattr(node, "test", None) or getattr(node, "subject", None)
    return set() if test is None else used(test)


def _concerned(node: ast.AST) -> set[str]:
    """What a statement is about: what it binds, tests, gives away or returns."""
    found = _bound(node) | _tested(node)
    if isinstance(node, ast.Expr | ast.Return | ast.For | ast.With):
        found |= _mentioned(node)
    if isinstance(node, ast.ClassDef):  # another layout: all fields are concerned
        found |= {name for field in node.body for name in _bound(field)}
    for part in _own(node):
        if isinstance(part, ast.IfExp | ast.comprehension):
            found |= _tested(part)
        elif isinstance(part, ast.BoolOp):
            found |= used(part)
    return found
