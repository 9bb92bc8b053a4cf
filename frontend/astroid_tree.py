"""The one place that uses the inside of astroid: from the nodes of ``ast`` to astroid's.

``astroid.parse`` would first bootstrap astroid's model of the builtins, which costs more than the rest of a
compilation. Its ``TreeRebuilder`` does without; it is not a public interface, so the version is bounded here and in
pyproject.toml, and a test compares the result with that of ``astroid.parse``.
"""

from __future__ import annotations

import ast

from pyebpf.diagnostics import PyebpfError
from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from astroid import nodes

MAJOR: Final = 4


class UnsupportedParser(PyebpfError):
    """The installed astroid is not one of those whose inside is known."""


_WITH_DOCSTRING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def rebuild(definition: ast.FunctionDef | ast.AsyncFunctionDef, text: str) -> nodes.FunctionDef:
    """The astroid node of one function. ``text``: that of its whole file, for the places of names.

    Raises ``UnsupportedParser``.
    """
    import astroid

    if astroid.__version__.partition(".")[0] != str(MAJOR):
        raise UnsupportedParser(
            f"pyebpf reads functions with astroid {MAJOR}, and this is astroid {astroid.__version__}: "
            f"install the right one with `pip install 'astroid>={MAJOR}.0,<{MAJOR + 1}'`"
        )
    from astroid.manager import AstroidManager
    from astroid.rebuilder import TreeRebuilder

    module = ast.Module(body=[definition], type_ignores=[])
    rebuilder = TreeRebuilder(AstroidManager(), text)
    # astroid takes the docstrings out of Python's tree, which is used again.
    bodies = [(one, one.body) for one in ast.walk(definition) if isinstance(one, _WITH_DOCSTRING)]
    found: nodes.FunctionDef = rebuilder.visit_module(module, "program", "program", False).body[0]
    for one, body in bodies:
        one.body = body
    return found
