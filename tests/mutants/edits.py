"""What the mutations have in common: the places of a module, and edits of the syntax tree at them."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator
from typing import Any

Edit = Callable[[], None]
"""Changes the tree in one place."""
Operator = Callable[[ast.Module, random.Random], Iterator[Edit]]
"""All edits of one kind that a module offers."""

OPERATORS: dict[str, Operator] = {}
"""By name; filled by the modules ``removals``, ``changes``, ``declarations`` and ``moves``."""

Block = list[ast.stmt]


def mutation(operator: Operator) -> Operator:
    """Register an operator under its own name."""
    OPERATORS[operator.__name__] = operator
    return operator


def functions(module: ast.Module) -> Iterator[ast.FunctionDef]:
    """All functions, the nested ones too."""
    return (node for node in ast.walk(module) if isinstance(node, ast.FunctionDef))


def blocks(module: ast.Module) -> Iterator[Block]:
    """The blocks of statements in functions."""
    for function in module.body:
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                for name in ("body", "orelse", "finalbody"):
                    block = getattr(node, name, None)
                    if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                        yield block


def statements(module: ast.Module) -> Iterator[tuple[Block, ast.stmt]]:
    """Every statement in functions, with the block that it is in."""
    for block in blocks(module):
        for statement in list(block):
            yield block, statement


def expressions(module: ast.Module) -> Iterator[tuple[ast.AST, str, int | None, ast.expr]]:
    """Every expression in the bodies of functions: its parent, the field, the place in a list, and itself."""
    for function in module.body:
        if isinstance(function, ast.FunctionDef):
            for statement in function.body:
                for parent in ast.walk(statement):
                    yield from _children(parent)


def _children(parent: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.expr]]:
    for name, value in ast.iter_fields(parent):
        if name in ("annotation", "returns", "decorator_list", "func"):
            continue
        if isinstance(value, ast.expr):
            yield parent, name, None, value
        elif isinstance(value, list):
            for at, item in enumerate(value):
                if isinstance(item, ast.expr):
                    yield parent, name, at, item


def is_read(node: ast.expr) -> bool:
    """Whether the expression is read, not assigned or deleted."""
    return not isinstance(getattr(node, "ctx", None), ast.Store | ast.Del)


def put(parent: ast.AST, name: str, at: int | None, new: Any) -> Edit:
    """Something else in the place of a child."""

    def apply() -> None:
        if at is None:
            setattr(parent, name, new)
        else:
            getattr(parent, name)[at] = new

    return apply


def exchange(block: Block, statement: ast.stmt, new: Block) -> Edit:
    """Other statements, or none, in the place of one."""

    def apply() -> None:
        at = next(i for i, other in enumerate(block) if other is statement)
        block[at : at + 1] = new
        if not block:
            block.append(ast.Pass())

    return apply


def leaves(block: Block) -> bool:
    """Whether a block ends by going elsewhere."""
    return isinstance(block[-1], ast.Return | ast.Raise | ast.Break | ast.Continue)


def parse(text: str) -> Block:
    """Statements from text."""
    return ast.parse(text).body


def expression(text: str) -> ast.expr:
    """An expression from text."""
    return ast.parse(text, mode="eval").body
