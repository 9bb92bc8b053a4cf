"""Operators: folded by Python itself where both sides are constants, else integer arithmetic."""

from __future__ import annotations

import operator
from collections.abc import Callable

from pyebpf.codes import Code
from pyebpf.diagnostics import Span
from pyebpf.frontend import arithmetic, conversions, tree
from pyebpf.frontend.conditions import test
from pyebpf.frontend.contexts import difference
from pyebpf.frontend.expressions import FOLDABLE, expression, fold, operand
from pyebpf.frontend.flow import join_states
from pyebpf.frontend.session import Context
from pyebpf.frontend.tree import ArithOp
from pyebpf.frontend.values import Operand, Static
from pyebpf.hints import Any

_BINARY: dict[str, Callable[[Any, Any], object]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "<<": operator.lshift,
    ">>": operator.rshift,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "@": operator.matmul,
}


_UNARY: dict[str, Callable[[Any], object]] = {"-": operator.neg, "+": operator.pos, "~": operator.invert}


ARITHMETIC = {op.value: op for op in ArithOp}


_LARGEST_FOLD = 1 << 16


@expression("BinOp")
def _binary(context: Context, node: Any) -> Operand:
    left = operand(context, node.left)
    right = operand(context, node.right)
    length = difference(context, left, right, context.span(node)) if node.op == "-" else None
    if length is not None:
        return length
    return binary(context, node.op, left, right, context.span(node))


def binary(context: Context, op: str, left: Operand, right: Operand, span: Span) -> Operand:
    """``left op right``: folded where both are constants."""
    if (
        isinstance(left, Static)
        and isinstance(right, Static)
        and isinstance(left.value, FOLDABLE)
        and isinstance(right.value, FOLDABLE)
    ):
        one: Any = left.value
        two: Any = right.value
        if op in ("**", "<<") and isinstance(two, int) and two > _LARGEST_FOLD:
            raise context.refusal(Code.E0206, span, "this constant does not fit into 64 bits")
        return fold(context, span, lambda: _BINARY[op](one, two))
    if op == "/":
        raise context.refusal(
            Code.E0306,
            span,
            "`/` gives a floating-point number, which does not exist in programs",
            help="use `//`, which rounds down",
        )
    if op not in ARITHMETIC:
        raise context.refusal(
            Code.E0306,
            span,
            f"`{op}` is not available for values known only at run time",
            help="use shifts for powers of two" if op == "**" else (),
        )
    one_int = conversions.integer(context, left, f"an integer for `{op}`")
    two_int = conversions.integer(context, right, f"an integer for `{op}`")
    if op in ("&", "|", "^") and isinstance(one_int, tree.ToInt) and isinstance(two_int, tree.ToInt):
        result = arithmetic.binary(context, ARITHMETIC[op], one_int, two_int, span)
        return tree.Truth(operand=result, span=span)  # bool op bool is a bool, as in Python
    return arithmetic.binary(context, ARITHMETIC[op], one_int, two_int, span)


@expression("UnaryOp")
def _unary(context: Context, node: Any) -> Operand:
    span = context.span(node)
    if node.op == "not":
        found = test(context, node).settled()
        context.state = join_states(found.yes, found.no)
        return found.result(span)
    inner = operand(context, node.operand)
    if isinstance(inner, Static) and isinstance(inner.value, int | float):
        number: Any = inner.value
        return fold(context, span, lambda: _UNARY[node.op](number))
    expr = conversions.integer(context, inner, f"an integer for `{node.op}`")
    match node.op:
        case "-":
            return arithmetic.negate(expr, span)
        case "~":
            return arithmetic.invert(expr, span)
        case _:
            return expr
