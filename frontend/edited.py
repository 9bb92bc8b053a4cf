"""Whether a file still says what Python runs: one that is edited after its import has another text.

The text is compiled and compared with the code of the function in memory, lines apart; so are the annotations of
parameters and result where they are strings (``from __future__ import annotations``). Annotations of local variables
and default values leave nothing behind in the function that could be compared.
"""

from __future__ import annotations

import ast
import types
import warnings
from collections.abc import Iterator
from functools import lru_cache
from importlib.machinery import SourceFileLoader

from pyebpf.running import AS_STRINGS, annotation_strings, trace

Definition = ast.FunctionDef | ast.AsyncFunctionDef


def comparable(function: types.FunctionType) -> bool:
    """Whether Python made the function of its file as it is: by an import, or as a script.

    Other loaders change what they compile (pytest rewrites assertions), and cells are no files.
    """
    space = function.__globals__
    if space.get("__file__") != function.__code__.co_filename:
        return False
    return type(space.get("__loader__")) is SourceFileLoader or space.get("__name__") == "__main__"


def says_the_same(
    function: types.FunctionType, definition: Definition, tree: ast.Module, lines: tuple[str, ...]
) -> bool:
    """Whether ``definition``, in ``tree`` of ``lines``, is the text of ``function``, which is ``comparable``."""
    code = function.__code__
    futures = code.co_flags & AS_STRINGS
    wanted = (code.co_name, code.co_firstlineno, trace(code))
    outer = next(n for n, one in enumerate(tree.body) if _holds(one, definition))
    if not any(wanted in _codes(lines, part, futures, _Beside(tree)) for part in (outer, None)):
        return False
    return not futures or annotation_strings(function) == _written(definition)


def _holds(statement: ast.stmt, definition: Definition) -> bool:
    return statement.lineno <= definition.lineno <= (statement.end_lineno or statement.lineno)


class _Beside:
    """A tree beside the lines that it was parsed from, which alone are the key."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Beside)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=512)
def _codes(
    lines: tuple[str, ...], outer: int | None, flags: int, parsed: _Beside
) -> frozenset[tuple[str, int, str]]:
    """Name, first line and trace of every function in a statement of a module; empty where it does not compile.

    The whole statement is compiled, so that classes and enclosing functions count, and with it the imports: CPython
    calls what is in imported modules by other instructions. None is the whole module, which takes longer.
    """
    module = parsed.tree
    if outer is not None:
        module = ast.Module([*_imports(module.body), module.body[outer]], [])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the import has told them
            code = compile(module, "", "exec", flags, dont_inherit=True)
    except SyntaxError:
        return frozenset()
    return frozenset((one.co_name, one.co_firstlineno, trace(one)) for one in _inner(code))


def _imports(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    for one in statements:
        match one:
            case ast.Import():
                yield one
            case ast.ImportFrom() if one.module != "__future__":
                yield one
            case ast.If() | ast.Try():
                yield from _imports(one.body)
                yield from _imports(one.orelse)


def _inner(code: types.CodeType) -> Iterator[types.CodeType]:
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield one
            yield from _inner(one)


def _written(definition: Definition) -> tuple[str, ...]:
    """The annotations of a definition as Python writes them down: it defines a function with these and no body."""
    given = definition.args
    module = ast.parse("def f(): pass")
    (bare,) = module.body
    assert isinstance(bare, ast.FunctionDef)
    bare.returns = definition.returns
    bare.args = ast.arguments(
        posonlyargs=given.posonlyargs,
        args=given.args,
        vararg=given.vararg,
        kwonlyargs=given.kwonlyargs,
        kw_defaults=[None for _ in given.kwonlyargs],
        kwarg=given.kwarg,
        defaults=[],
    )
    space: dict[str, types.FunctionType] = {}
    exec(compile(module, "", "exec", AS_STRINGS, dont_inherit=True), {}, space)
    return annotation_strings(space["f"])
