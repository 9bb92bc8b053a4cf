"""Make a failing program smaller: take statements away, put parts in the place of wholes, while it fails the same way."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tests.differential.judge import Judgement, Verdict

Fails = Callable[[str], Judgement]


def essence(judgement: Judgement) -> str:
    """What has to stay the same while a failure is made smaller: its verdict and, where there is one, place or code."""
    text = judgement.text
    match judgement.verdict:
        case Verdict.REFUSED:
            found = re.search(r"error\[(E\d+)\]: (.*)", text)
            detail = "" if found is None else found[1] + re.sub(r"`[^`]*`|-?\d+", "_", found[2])
        case Verdict.CRASHED:
            frames = re.findall(r'File "([^"]+)", line (\d+)', text)
            detail = f"{frames[-1] if frames else ''} {text.splitlines()[-1].split(':')[0]}"
        case Verdict.REJECTED:
            lines = [re.sub(r"\d+", "_", line) for line in text.splitlines() if line.strip()]
            detail = lines[0] if lines else ""
        case _:
            detail = ""
    return f"{judgement.verdict.name} {detail}"


def _bodies(module: ast.Module) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(module):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                yield block


def _without_statements(module: ast.Module) -> Iterator[Callable[[], Callable[[], None]]]:
    """Edits that remove statements, or put the inside of a compound statement in its place."""
    for block in list(_bodies(module)):
        for statement in reversed(list(block)):
            yield partial(_swap, block, statement, [])
            inner = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
            if isinstance(statement, ast.Match):
                inner = [case.body for case in statement.cases]
            if not isinstance(statement, ast.FunctionDef | ast.ClassDef):
                for part in inner:
                    if part:
                        yield partial(_swap, block, statement, part)
            for name in ("orelse", "finalbody", "handlers", "cases"):
                part = getattr(statement, name, None)
                if not isinstance(part, list):
                    continue
                for child in list(part):
                    yield partial(_swap, part, child, [])


def _swap(block: list[Any], old: ast.AST, new: list[Any]) -> Callable[[], None]:
    if old not in block:
        return lambda: None
    saved = list(block)
    at = block.index(old)
    block[at : at + 1] = new
    if not block and isinstance(old, ast.stmt):
        block.append(ast.Pass())

    def undo() -> None:
        block[:] = saved

    return undo


def _smaller_expressions(module: ast.Module) -> Iterator[Callable[[], Callable[[], None]]]:
    """Edits that put an operand or a small constant in the place of an expression."""
    for parent in list(ast.walk(module)):
        if isinstance(parent, ast.arguments | ast.ClassDef):
            continue
        for name, value in list(ast.iter_fields(parent)):
            if name in ("annotation", "returns", "decorator_list", "targets", "target", "func", "bases"):
                continue
            for place in value if isinstance(value, list) else [value]:
                if isinstance(place, ast.expr) and not isinstance(getattr(place, "ctx", None), ast.Store):
                    for new in _parts(place):
                        yield partial(_put, parent, name, place, new)


def _parts(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.Constant | ast.Name | ast.Attribute):
        return [] if isinstance(node, ast.Constant) else [ast.Constant(1)]
    children = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    return [ast.Constant(1), *children]


def _put(parent: ast.AST, name: str, old: ast.expr, new: ast.expr) -> Callable[[], None]:
    value = getattr(parent, name)
    if isinstance(value, list):
        if old not in value:
            return lambda: None
        at = value.index(old)
        value[at] = new
        return lambda: value.__setitem__(at, old)
    if value is not old:
        return lambda: None
    setattr(parent, name, new)
    return lambda: setattr(parent, name, old)


def shrink(source: str, fails: Fails, tries: int = 3000) -> str:
    """The smallest program found that fails as ``source`` does. ``fails`` judges a program."""
    wanted = essence(fails(source))
    module = ast.parse(source)
    progress = True
    while progress and tries > 0:
        progress = False
        for edits in (_without_statements, _smaller_expressions):
            for edit in list(edits(module)):
                before = ast.unparse(module)
                undo = edit()
                after = ast.unparse(ast.fix_missing_locations(module))
                if after == before or len(after) >= len(before):
                    undo()
                    continue
                tries -= 1
                if tries <= 0:
                    undo()
                    return ast.unparse(module)
                try:
                    same = essence(fails(after)) == wanted
                except SyntaxError:
                    same = False
                if same:
                    progress = True
                else:
                    undo()
    return ast.unparse(module)
