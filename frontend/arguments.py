"""Binding the arguments of a call to parameters: positions, keywords, optional ones at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyebpf.codes import Code
from pyebpf.diagnostics import Span
from pyebpf.frontend.expressions import operand
from pyebpf.frontend.session import Context
from pyebpf.frontend.suggest import near
from pyebpf.frontend.values import Operand, Static


class _Absent:
    """Stands for an optional argument that is not given."""


_ABSENT = _Absent()


@dataclass(slots=True)
class Arguments:
    """The operands of a call by parameter, with their places."""

    values: list[Operand]
    spans: list[Span]

    def present(self, position: int) -> bool:
        """Whether the optional argument is given."""
        found = self.values[position]
        return not (isinstance(found, Static) and found.value is _ABSENT)


def arguments(
    context: Context, call: Any, parameters: Sequence[str], *, optional: int = 0, code: Code = Code.E0903
) -> Arguments:
    """The arguments of ``call`` for ``parameters``, the last ``optional`` of which may be missing.

    Evaluated in the order in which they are written.
    """
    nodes = argument_nodes(context, call, parameters, optional=optional, code=code)
    found: dict[str, Operand] = {name: operand(context, node) for name, node in nodes.items()}
    missing = Static(_ABSENT, context.span(call))
    return Arguments(
        [found.get(name, missing) for name in parameters],
        [context.span(nodes.get(name, call)) for name in parameters],
    )


def argument_nodes(
    context: Context, call: Any, parameters: Sequence[str], *, optional: int = 0, code: Code = Code.E0903
) -> dict[str, Any]:
    """The syntax nodes of the arguments by parameter name, in the order in which they are written."""
    nodes: dict[str, Any] = {}
    span = context.span(call)
    name = called(call)
    plain_arguments(context, call)
    if len(call.args) > len(parameters):
        raise context.refusal(
            code, span, f"`{name}` takes {_count(len(parameters), optional)}, {len(call.args)} are given"
        )
    for parameter, node in zip(parameters, call.args, strict=False):
        nodes[parameter] = node
    for keyword in call.keywords:
        if keyword.arg not in parameters:
            raise context.refusal(
                code,
                keyword,
                f"`{name}` has no parameter `{keyword.arg}`",
                help=near(keyword.arg, parameters),
            )
        if keyword.arg in nodes:
            raise context.refusal(code, keyword, f"`{keyword.arg}` is given twice")
        nodes[keyword.arg] = keyword.value
    required = parameters[: len(parameters) - optional]
    absent = [p for p in required if p not in nodes]
    if absent:
        names = ", ".join(f"`{p}`" for p in absent)
        raise context.refusal(code, span, f"`{name}` is called without {names}")
    return nodes


def plain_arguments(context: Context, call: Any) -> None:
    """Refuse ``*`` and ``**`` in a call, and mark its keywords as seen."""
    for node in call.args:
        if type(node).__name__ == "Starred":
            raise context.refusal(
                Code.E0101, node, "`*` unpacking cannot be compiled", help="write the arguments one by one"
            )
    for keyword in call.keywords:
        context.coverage.mark(keyword)
        if keyword.arg is None:
            raise context.refusal(
                Code.E0101,
                keyword.value,
                "`**` unpacking cannot be compiled",
                help="write the arguments one by one",
            )


def called(call: Any) -> str:
    """The name of what is called, for messages."""
    node = call.func
    name = getattr(node, "attrname", None) or getattr(node, "name", None)
    return str(name or "this")


def _count(parameters: int, optional: int) -> str:
    least = parameters - optional
    words = str(parameters) if not optional else f"{least} to {parameters}"
    return f"{words} argument{'s' if parameters != 1 else ''}"
