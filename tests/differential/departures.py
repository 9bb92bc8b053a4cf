"""Whether CPython must agree with the evaluator on a run.

It must, unless the run left what Python's integers do. A conversion that the program spells (``u8(x)``) is no
such departure: the stand-ins of CPython convert as well. What the front end folds (``h: u8 = 1000``) never happens in
a run: constants are compared with what their text means.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import types
from collections.abc import Iterable, Sequence
from typing import Any

from pyebpf.diagnostics import Span
from pyebpf.frontend import tree
from tests.differential.cpython.vocabulary import INTEGERS, Vocabulary
from tests.differential.evaluator import Departure

_FOLDED: dict[str, Any] = {
    name: getattr(builtins, name) for name in ("min", "max", "abs", "int", "bool", "len")
} | INTEGERS
_FOLDED["bpf"] = Vocabulary()
_PLAIN = (
    ast.Constant,
    ast.UnaryOp,
    ast.BinOp,
    ast.operator,
    ast.unaryop,
    ast.expr_context,
    ast.Call,
    ast.IfExp,
    ast.Attribute,
    ast.Subscript,
    ast.Slice,
)
_LOGIC = (ast.Compare, ast.cmpop, ast.BoolOp, ast.boolop, ast.Tuple)


def _text(span: Span, lines: Sequence[str]) -> str:
    if span.line != span.end_line or span.line > len(lines):
        return ""
    return lines[span.line - 1][span.column - 1 : span.end_column - 1]


def _spelled(departure: Departure, lines: Sequence[str]) -> bool:
    span = departure.span
    text = _text(span, lines)
    if departure.kept and text:  # of `u64(x)` the span may be that of `x`
        before, after = lines[span.line - 1][: span.column - 1], lines[span.line - 1][span.end_column - 1 :]
        if before.rstrip("(").endswith(departure.kept) and after.startswith(")"):
            return True
    if not departure.kept or not text.startswith(f"{departure.kept}("):
        return False
    try:
        node = ast.parse(text, mode="eval").body
    except SyntaxError:
        return False
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == departure.kept


def is_python(departures: Iterable[Departure], source: str) -> bool:
    """Whether everything that a run did is what Python does."""
    lines = source.splitlines()
    return all(_spelled(departure, lines) for departure in departures)


def _constants(source: str) -> dict[str, Any]:
    """What the constants of a module stand for: literals, and classes of literals as enumerations are."""
    found: dict[str, Any] = {}
    for statement in ast.parse(source).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                with contextlib.suppress(ValueError):
                    found[name] = ast.literal_eval(value)
            case ast.ClassDef(name=name, body=body, bases=[_]):
                found[name] = types.SimpleNamespace(**_constants(ast.unparse(ast.Module(body, []))))
            case _:
                pass
    return found


def _meaning(text: str, constants: dict[str, Any]) -> int | None:
    """What Python makes of a constant expression; ``None`` for any other text."""
    try:
        parsed = ast.parse(text, mode="eval")
        for node in ast.walk(parsed.body):
            if isinstance(node, ast.Name) and node.id in constants:
                continue
            if not isinstance(node, _PLAIN + _LOGIC):
                return None
        value = eval(compile(parsed, "<constant>", "eval"), dict(constants))
    except (SyntaxError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return None
    return value if isinstance(value, int) else None


def _kept(value: int, folded: int) -> bool:
    """Whether ``folded`` are low bits of ``value``; anything else belongs to the code around the constant."""
    return any(kind(value) == folded for kind in INTEGERS.values())


def folds_as_python(nodes: Iterable[tree.Node], source: str) -> bool:
    """Whether every constant of a typed tree is what Python makes of its text."""
    lines = source.splitlines()
    constants = _FOLDED | _constants(source)
    known: dict[Span, int | None] = {}
    for node in nodes:
        if isinstance(node, tree.IntConst):
            if node.span not in known:
                text = _text(node.span, lines)
                known[node.span] = int(text) if text.isdecimal() else _meaning(text, constants)
            value = known[node.span]
            if value is not None and value != node.value and _kept(value, node.value):
                return False
    return True
