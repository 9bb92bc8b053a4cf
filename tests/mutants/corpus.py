"""The programs that are mutated: one small module for each, cut out of the samples, tests and benchmarks, and generated.

A program is cut out by names: its function, and what it reaches of the module's functions, structs, maps and
constants. The compiler takes no part in it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pyebpf.uapi import programs
from tests.differential import test_found, test_loops, test_objects
from tests.differential.generate import generate

ROOT = Path(__file__).parents[2]
FOLDERS = ("samples", "benchmarks/programs", "tests/kernel/programs", "tests/mutants")
GENERATED = 40
"""How many programs of the generator of ``tests.differential`` are mutated."""
DECORATORS = frozenset(
    kind.name for kind in vars(programs).values() if isinstance(kind, programs.ProgramKind)
)


@dataclass(frozen=True, slots=True)
class Original:
    """A program that compiles. ``name``: where it is from."""

    name: str
    source: str


def decorator_name(node: ast.expr) -> str:
    """``xdp`` of ``@bpf.xdp`` and of ``@bpf.xdp(on_error=1)``; empty for what is not an attribute of ``bpf``."""
    called = node.func if isinstance(node, ast.Call) else node
    on_bpf = (
        isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "bpf"
    )
    return called.attr if on_bpf and isinstance(called, ast.Attribute) else ""


def is_program(node: ast.stmt) -> bool:
    """Whether it is a function that is decorated as a program."""
    return isinstance(node, ast.FunctionDef) and any(
        decorator_name(decorator) in DECORATORS for decorator in node.decorator_list
    )


def defined(statement: ast.stmt) -> set[str]:
    """The names that a statement of a module defines."""
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {(alias.asname or alias.name).split(".")[0] for alias in names}
        case ast.Assign(targets=targets):
            return {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
        case _:
            return set()


def used(statement: ast.AST) -> set[str]:
    """All names in a statement, also those of annotations."""
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


def cut_out(module: ast.Module, program: ast.FunctionDef) -> str:
    """The module that ``program`` needs."""
    kept: set[int] = set()
    work: list[ast.stmt] = [program]
    while work:
        statement = work.pop()
        if id(statement) not in kept:
            kept.add(id(statement))
            names = used(statement)
            work += [other for other in module.body if defined(other) & names and not is_program(other)]
    body = [s for s in module.body if id(s) in kept or _always(s)]
    return ast.unparse(ast.fix_missing_locations(_Plain().visit(ast.Module(body, []))))


def _always(statement: ast.stmt) -> bool:
    """What stands in every module that is cut out: the future, and the licence."""
    if isinstance(statement, ast.ImportFrom):
        return statement.module == "__future__"
    return isinstance(statement, ast.Expr) and decorator_name(statement.value) == "license"


class _Plain(ast.NodeTransformer):
    """Takes docstrings away: a mutant should be easy to read."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if (
            isinstance(node, ast.FunctionDef | ast.ClassDef)
            and len(node.body) > 1
            and ast.get_docstring(node)
        ):
            del node.body[0]
        return node


def _cut_from(name: str, text: str) -> Iterator[Original]:
    module = ast.parse(text)
    for statement in module.body:
        if is_program(statement) and isinstance(statement, ast.FunctionDef):
            yield Original(f"{name}:{statement.name}", cut_out(module, statement))


def _whole(name: str, text: str) -> Original:
    return Original(name, ast.unparse(ast.parse(text)))


def _generated() -> Iterator[Original]:
    for seed in range(GENERATED):
        yield from _cut_from(f"generated {seed}", generate(seed)[0])


@cache
def originals() -> tuple[Original, ...]:
    """All programs, always in the same order."""
    found: list[Original] = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).glob("*.py")):
            found += _cut_from(str(path.relative_to(ROOT)), path.read_text())
    for name, body in (*test_found.FOUND.items(), *test_objects.FOUND.items()):
        found += _cut_from(f"found: {name}", test_found.source_of("", body))
    for name, source in test_loops.SOURCES.items():
        found += _cut_from(f"loop: {name}", source)
    return (*found, *_generated())
