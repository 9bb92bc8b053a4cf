"""Mutations that change where and when something happens: order, guards, loops, uses after an end."""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Iterator

from tests.mutants.changes import _names
from tests.mutants.edits import Block, Edit, blocks, exchange, functions, mutation, parse, put, statements


def _set(block: Block, new: Block) -> Edit:
    def apply() -> None:
        block[:] = new

    return apply


@mutation
def swapped(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """Two statements change places."""
    for block in blocks(module):
        for at in range(len(block) - 1):
            yield _set(block, [*block[:at], block[at + 1], block[at], *block[at + 2 :]])


@mutation
def out_of_guard(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """What stands under a condition, in a loop, ``with`` or ``try``, happens after it."""
    for block, statement in statements(module):
        if (
            isinstance(statement, ast.If | ast.For | ast.While | ast.With | ast.Try)
            and len(statement.body) > 1
        ):
            *rest, last = statement.body
            smaller = copy.copy(statement)
            smaller.body = rest
            yield exchange(block, statement, [smaller, last])


@mutation
def before_guard(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """What stands under a condition happens before it."""
    for block, statement in statements(module):
        if (
            isinstance(statement, ast.If | ast.For | ast.While | ast.With | ast.Try)
            and len(statement.body) > 1
        ):
            first, *rest = statement.body
            smaller = copy.copy(statement)
            smaller.body = rest
            yield exchange(block, statement, [first, smaller])


@mutation
def used_afterwards(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A statement of a ``with``, ``if``, ``try`` or loop is there once more after the block, or anywhere later."""
    for block, statement in statements(module):
        if isinstance(statement, ast.With | ast.If | ast.Try | ast.For):
            again = [s for s in statement.body if isinstance(s, ast.Assign | ast.AugAssign | ast.Expr)]
            if again:
                yield exchange(block, statement, [statement, copy.deepcopy(rng.choice(again))])


@mutation
def twice(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A statement happens twice: a release, a deletion, a definition."""
    for block, statement in statements(module):
        if not isinstance(statement, ast.Return | ast.Nonlocal):
            yield exchange(block, statement, [statement, copy.deepcopy(statement)])


@mutation
def ended_early(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """What a use needs ends before it: an entry is deleted, a packet moves, something is forgotten."""
    contexts = [f.args.args[0].arg for f in functions(module) if f.decorator_list and f.args.args]
    names = _names(module)
    for block, statement in statements(module):
        texts = [f"{name} = None" for name in names[:8]]
        texts += [f"{c}.adjust_head(2)" for c in contexts] + [f"bpf.skb_vlan_pop({c})" for c in contexts]
        texts += ["return", "return 7", "raise ValueError", "assert False"]
        yield exchange(block, statement, [*parse_in_function(rng.choice(texts)), statement])


def parse_in_function(text: str) -> Block:
    """Statements that stand in functions only."""
    function = parse(f"def f():\n    {text}")[0]
    assert isinstance(function, ast.FunctionDef)
    return function.body


@mutation
def in_loop(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A statement is repeated."""
    for block, statement in statements(module):
        if not isinstance(statement, ast.Return | ast.Nonlocal | ast.Break | ast.Continue):
            head = rng.choice(("for _again in range(3):", "for _again in range(100):", "while True:"))
            loop = parse(f"{head}\n    pass")[0]
            assert isinstance(loop, ast.For | ast.While)
            loop.body = [statement]
            yield exchange(block, statement, [loop])


@mutation
def under_condition(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A statement happens sometimes."""
    for block, statement in statements(module):
        if not isinstance(statement, ast.Nonlocal):
            condition = parse("if bpf.get_prandom_u32() & 1:\n    pass")[0]
            assert isinstance(condition, ast.If)
            condition.body = [statement]
            yield exchange(block, statement, [condition])


@mutation
def calls_itself(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A function calls itself."""
    for function in module.body:
        if isinstance(function, ast.FunctionDef):
            arguments = ", ".join(p.arg for p in function.args.args)
            yield put(function, "body", None, [*parse(f"{function.name}({arguments})"), *function.body])


@mutation
def outside_of_subset(module: ast.Module, rng: random.Random) -> Iterator[Edit]:
    """A construct of Python that programs do not have."""
    texts = (
        "import os",
        "x = [1, 2]",
        "x = {}",
        "global z",
        "x = lambda: 1",
        "yield 1",
        "x = [i for i in range(3)]",
        "del x",
        "x: float = 1.5",
        "print('text', 1.5)",
        "x, *y = 1, 2",
        "class C: pass",
        "x = f'{1}'",
        "async def g(): pass",
        "x = open('y')",
        "x = 3 if 1 else None",
        "return 1 / 2",
    )
    for block, statement in statements(module):
        yield exchange(block, statement, [*parse_in_function(rng.choice(texts)), statement])
