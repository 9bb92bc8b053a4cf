"""Binding the arguments of a call to parameters: positions, keywords, optional ones at the end."""

from __future__ import annotations

from collections.abc import Sequence

from pyebpf.codes import Code
from pyebpf.diagnostics import Span
from pyebpf.frontend.expressions import operand
from pyebpf.frontend.session import Context
from pyebpf.frontend.suggest import near
from pyebpf.frontend.values import Operand, Static
from pyebpf.hints import Any
from pyebpf.records import dataclass


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
    context: Context,
    call: Any,
    parameters: Sequence[str],
    *,
    optional: int = 0,
    positional: int = 0,
    code: Code = Code.E0903,
) -> Arguments:
    """The arguments of ``call`` for ``parameters``, the last ``optional`` of which may be missing.

    ``positional``: how many of the first parameters cannot be given by keyword.
    """
    nodes = argument_nodes(context, call, parameters, optional=optional, positional=positional, code=code)
    found: dict[str, Operand] = {name: operand(context, node) for name, node in nodes.items()}
    missing = Static(_ABSENT, context.span(call))
    return Arguments(
        [found.get(name, missing) for name in parameters],
        [context.span(nodes.get(name, call)) for name in parameters],
    )


def argument_nodes(
    context: Context,
    call: Any,
    parameters: Sequence[str],
    *,
    optional: int = 0,
    positional: int = 0,
    code: Code = Code.E0903,
) -> dict[str, Any]:
    """The syntax nodes of the arguments by parameter name, in the order in which they are written.

    Python evaluates arguments in that order, calls take them in the order of the parameters: where the difference
    could be seen, the call is refused.
    """
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
        if keyword.arg in parameters[:positional]:
            raise context.refusal(code, keyword, f"`{keyword.arg}` of `{name}` is given by position only")
        if keyword.arg in nodes:
            raise context.refusal(code, keyword, f"`{keyword.arg}` is given twice")
        nodes[keyword.arg] = keyword.value
    required = parameters[: len(parameters) - optional]
    absent = [p for p in required if p not in nodes]
    if absent:
        names = ", ".join(f"`{p}`" for p in absent)
        raise context.refusal(code, span, f"`{name}` is called without {names}")
    _refuse_order(context, parameters, nodes)
    return nodes


def _refuse_order(context: Context, parameters: Sequence[str], nodes: dict[str, Any]) -> None:
    """Refuse keywords in another order than the parameters where that order makes a difference."""
    written = list(nodes)
    for position, late in enumerate(written):
        for early in written[:position]:
            if parameters.index(early) > parameters.index(late) and _conflict(nodes[early], nodes[late]):
                raise context.refusal(
                    Code.E0903,
                    nodes[late],
                    f"`{late}` comes before `{early}` in the call, but is written after it",
                    notes=[
                        "Python evaluates arguments as they are written, and here the order makes a difference"
                    ],
                    help="write the arguments in the order of the parameters, or assign them to variables first",
                )


_STILL = frozenset({"Const", "Name", "UnaryOp", "BinOp"})


def _conflict(one: Any, two: Any) -> bool:
    """Whether the order in which two expressions are evaluated can be seen."""
    return _acts(one, two) or _acts(two, one)


def _acts(one: Any, other: Any) -> bool:
    mine, others = _classes(one), _classes(other)
    if "NamedExpr" in mine:
        return others != {"Const"}
    return "Call" in mine and not others <= _STILL


def assigns(node: Any) -> bool:
    """Whether evaluating an expression may assign a variable, by ``:=`` or in a callback."""
    return not _classes(node).isdisjoint({"NamedExpr", "Call"})


def _classes(node: Any) -> set[str]:
    found = {type(node).__name__}
    for child in node.get_children():
        found |= _classes(child)
    return found


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
