"""The stub of the helpers: one function per helper, with C's parameters, that type checkers take."""

from __future__ import annotations

import ast

from pyebpf.uapi.helpers import ReturnKind, helper_by_name, helper_names
from pyebpf.uapi.tools import generate

STUB = ast.parse((generate.UAPI / "helper_functions.pyi").read_text())
FUNCTIONS = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}


def test_one_function_per_helper() -> None:
    assert tuple(FUNCTIONS) == helper_names()


def test_parameters_are_those_of_c() -> None:
    for name, function in FUNCTIONS.items():
        helper = helper_by_name(name)
        assert helper is not None
        if name in generate.INSTEAD:
            continue
        widest = max((prototype.args for prototype in helper.prototypes), key=len)
        # "from" is a keyword in Python.
        assert [a.arg.removesuffix("_") for a in function.args.args] == [a.name for a in widest], name
        assert (function.args.vararg is not None) == helper.variadic, name


def test_results() -> None:
    for name, function in FUNCTIONS.items():
        helper = helper_by_name(name)
        assert helper is not None and function.returns is not None
        returns = helper.returns
        expected = {ReturnKind.INTEGER: "int", ReturnKind.VOID: "None"}.get(returns.kind, "Any")
        assert ast.unparse(function.returns) == expected + (" | None" if returns.nullable else ""), name
