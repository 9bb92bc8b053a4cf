"""Mutations that take something away: checks, returns, releases, handlers, statements, arguments."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator

from tests.mutants.edits import Edit, exchange, expressions, functions, leaves, mutation, put, statements


def _looks_for_none(test: ast.expr) -> bool:
    return any(isinstance(node, ast.Constant) and node.value is None for node in ast.walk(test))


@mutation
def without_check_for_none(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """``if x is None: return`` disappears; the body of ``if x is not None`` stands alone."""
    for block, statement in statements(module):
        if isinstance(statement, ast.If) and _looks_for_none(statement.test):
            yield exchange(block, statement, [] if leaves(statement.body) else statement.body)


@mutation
def without_guard(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """``if offset > end: break`` and its like disappear."""
    for block, statement in statements(module):
        if isinstance(statement, ast.If) and leaves(statement.body):
            yield exchange(block, statement, statement.orelse)


@mutation
def unconditional(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """What stands under a condition or in a loop stands alone."""
    for block, statement in statements(module):
        if isinstance(statement, ast.If | ast.While):
            yield exchange(block, statement, statement.body)


@mutation
def without_operand(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """``a and b`` becomes ``b`` or ``a``."""
    for parent, name, at, node in expressions(module):
        if isinstance(node, ast.BoolOp):
            for operand in node.values:
                yield put(parent, name, at, operand)


@mutation
def without_return(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A ``return`` disappears."""
    for block, statement in statements(module):
        if isinstance(statement, ast.Return):
            yield exchange(block, statement, [])


@mutation
def without_value(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A ``return`` has no value any more."""
    for block, statement in statements(module):
        if isinstance(statement, ast.Return) and statement.value is not None:
            yield exchange(block, statement, [ast.Return()])


@mutation
def without_exit(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """``break``, ``continue`` and ``raise`` disappear."""
    for block, statement in statements(module):
        if isinstance(statement, ast.Break | ast.Continue | ast.Raise):
            yield exchange(block, statement, [])


@mutation
def without_statement(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """Any simple statement disappears."""
    for block, statement in statements(module):
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Assert):
            yield exchange(block, statement, [])


@mutation
def without_call(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A call for its effect disappears, such as one that releases, and so does ``del``."""
    for block, statement in statements(module):
        if isinstance(statement, ast.Delete) or (
            isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
        ):
            yield exchange(block, statement, [])


@mutation
def without_with(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """The body of ``with`` stands alone, with or without an assignment before it."""
    for block, statement in statements(module):
        if isinstance(statement, ast.With):
            yield exchange(block, statement, statement.body)
            item = statement.items[0]
            if item.optional_vars is not None:
                bound = ast.Assign([item.optional_vars], item.context_expr)
                yield exchange(block, statement, [bound, *statement.body])


@mutation
def without_try(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """The body of ``try`` stands alone."""
    for block, statement in statements(module):
        if isinstance(statement, ast.Try):
            yield exchange(block, statement, statement.body)


@mutation
def without_handler(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """One handler disappears, or what follows under ``else`` and ``finally``."""
    for block, statement in statements(module):
        if not isinstance(statement, ast.Try):
            continue
        parts = (statement.handlers, statement.orelse, statement.finalbody)
        if len(statement.handlers) > 1 or (statement.handlers and statement.finalbody):
            for handler in statement.handlers:
                others = [other for other in statement.handlers if other is not handler]
                rest = ast.Try(statement.body, others, statement.orelse if others else [], parts[2])
                yield exchange(block, statement, [rest])
        if statement.handlers and statement.orelse:
            yield exchange(block, statement, [ast.Try(statement.body, parts[0], [], parts[2])])
        if statement.handlers and statement.finalbody:
            yield exchange(block, statement, [ast.Try(statement.body, parts[0], parts[1], [])])


@mutation
def without_else(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """An ``else`` of ``if``, ``while`` or ``for`` disappears."""
    for block, statement in statements(module):
        if isinstance(statement, ast.If) and statement.orelse:
            yield exchange(block, statement, [ast.If(statement.test, statement.body, [])])
        elif isinstance(statement, ast.For | ast.While) and statement.orelse:
            yield put(statement, "orelse", None, [])


@mutation
def without_argument(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A call has one argument less."""
    for _, _, _, node in expressions(module):
        if isinstance(node, ast.Call):
            for argument in node.args:
                yield put(node, "args", None, [other for other in node.args if other is not argument])
            for keyword in node.keywords:
                yield put(node, "keywords", None, [other for other in node.keywords if other is not keyword])


@mutation
def without_parameter(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A function has one parameter less."""
    for function in functions(module):
        if function.args.args and not function.args.defaults:
            yield put(function.args, "args", None, function.args.args[:-1])


@mutation
def without_declaration_of_sharing(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """``nonlocal`` disappears."""
    for block, statement in statements(module):
        if isinstance(statement, ast.Nonlocal):
            yield exchange(block, statement, [])
