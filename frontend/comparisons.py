"""Comparisons: of integers, bools, byte strings and optional values; chains, and ``in``."""

from __future__ import annotations

import operator
from collections.abc import Callable

from pyebpf.codes import Code
from pyebpf.declare import MapDecl, declaration_of
from pyebpf.diagnostics import Span
from pyebpf.frontend import conversions, tree
from pyebpf.frontend.conditions import test, tester
from pyebpf.frontend.expressions import FOLDABLE, expression, fold, operand, variable_of
from pyebpf.frontend.flow import State, join_states
from pyebpf.frontend.maps import contains
from pyebpf.frontend.narrowing import narrow_comparison
from pyebpf.frontend.optionals import presence_test
from pyebpf.frontend.outcomes import Test, constant_test, negated, split
from pyebpf.frontend.session import Context
from pyebpf.frontend.strings import equal_bytes
from pyebpf.frontend.tree import CompareOp
from pyebpf.frontend.types import NONE, U64, Bool, Int, Kernel, Maybe, Ref, User
from pyebpf.frontend.values import FoundInt, Items, MaybeVariable, Operand, Static, describe
from pyebpf.hints import Any
from pyebpf.layout import BytesType, StructType

_FOLD: dict[str, Callable[[Any, Any], object]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "is": operator.is_,
    "is not": operator.is_not,
    "in": lambda left, right: left in right,
    "not in": lambda left, right: left not in right,
}
_OPS = {op.value: op for op in CompareOp}


@expression("Compare")
def _compare(context: Context, node: Any) -> Operand:
    found = test(context, node).settled()
    context.state = join_states(found.yes, found.no)
    return found.result(context.span(node))


@tester("Compare")
def _compare_test(context: Context, node: Any) -> Test:
    """``a < b < c`` is ``a < b and b < c`` with ``b`` evaluated once."""
    left = operand(context, node.left)
    pairs = list(node.ops)
    parts: list[tree.Expr] = []
    decided: State | None = None
    for position, (op, child) in enumerate(pairs):
        last = position == len(pairs) - 1
        right = _right_operand(context, op, child)
        bound, again = (right, right) if last else _bind_once(context, right)
        found = compare(context, op, left, bound, context.span(node))
        if len(pairs) == 1:
            return found
        found = found.settled()
        left = again
        if found.known is None:
            assert found.expr is not None
            parts.append(found.expr)
            decided = join_states(decided, found.no)
        elif not found.known:
            for _, skipped in pairs[position + 1 :]:
                context.coverage.skip(skipped)
            if not parts:
                return Test(None, False, None, found.no)
            parts.append(tree.IntConst(value=0, type=Bool(), span=context.span(node)))
            return Test(
                tree.Logic(conjunction=True, operands=tuple(parts), span=context.span(node)),
                None,
                None,
                join_states(decided, found.no),
            )
        context.state = found.yes
    if not parts:
        return Test(None, True, context.state, None)
    whole = (
        parts[0]
        if len(parts) == 1
        else tree.Logic(conjunction=True, operands=tuple(parts), span=context.span(node))
    )
    return Test(whole, None, context.state, decided)


def _right_operand(context: Context, op: str, node: Any) -> Operand:
    if op in ("in", "not in") and type(node).__name__ in ("List", "Set"):
        raise context.refusal(
            Code.E0101, node, "a list or set cannot be compiled", help="search a tuple: `x in (1, 2, 3)`"
        )
    return operand(context, node)


def _bind_once(context: Context, found: Operand) -> tuple[Operand, Operand]:
    """An operand that is needed twice: to be evaluated now, and to be read again."""
    if isinstance(found, Static):
        return found, found
    expr = conversions.runtime(context, found)
    if isinstance(expr, tree.GetLocal | tree.IntConst):
        return expr, expr
    local = context.temporary(expr.type, expr.span)
    bound = tree.Bind(local=local, value=expr, type=expr.type, span=expr.span)
    return bound, tree.GetLocal(local=local, type=expr.type, span=expr.span)


def compare(context: Context, op: str, left: Operand, right: Operand, span: Span) -> Test:
    """One comparison of a chain."""
    if op in ("in", "not in"):
        return _contains(context, op == "not in", left, right, span)
    if isinstance(left, Static) and isinstance(right, Static) and _both_fold(op, left.value, right.value):
        return constant_test(
            context, bool(fold(context, span, lambda: _FOLD[op](left.value, right.value)).value)
        )
    if op in ("is", "is not"):
        return _identity(context, op == "is not", left, right, span)
    for side, other in ((left, right), (right, left)):
        if isinstance(side, Static) and side.value is None:
            raise context.refusal(
                Code.E0310,
                span,
                "`None` is compared with `is`",
                help=f"write `is {'not ' if op == '!=' else ''}None`" if op in ("==", "!=") else (),
            )
        if isinstance(side, Static) and isinstance(side.value, str):
            conversions.runtime(context, side)
        del other
    one, two = conversions.runtime(context, left), conversions.runtime(context, right)
    one, two = _text(one, two), _text(two, one)
    if isinstance(one.type, Ref) and isinstance(two.type, Ref):
        return _compare_references(context, op, one, two, span)
    if isinstance(one.type, Bool) and isinstance(two.type, Bool) and op in ("==", "!="):
        yes, no = split(context)
        return Test(tree.Compare(op=_OPS[op], left=one, right=two, span=span), None, yes, no)
    if isinstance(one.type, Kernel | User) or isinstance(two.type, Kernel | User):
        one, two = _address(one), _address(two)
    for expr in (one, two):
        if not isinstance(expr.type, Int | Bool):
            if isinstance(expr.type, Maybe):
                raise conversions.refuse_optional(context, expr.span, describe(expr.type.of))
            raise context.refusal(
                Code.E0310,
                span,
                f"{describe(one.type)} and {describe(two.type)} cannot be compared with `{op}`",
            )
    return compare_ints(
        context, _OPS[op], conversions.integer(context, one), conversions.integer(context, two), span
    )


def _text(expr: tree.Expr, other: tree.Expr) -> tree.Expr:
    """A string of the kernel that is compared with bytes: a copy that is long enough to tell a longer string."""
    if not isinstance(other.type, Ref) or not isinstance(other.type.layout, BytesType):
        return expr
    return conversions.text_copy(expr, other.type.layout.length + 2)


def _address(expr: tree.Expr) -> tree.Expr:
    """An address as a number, for comparisons."""
    if not isinstance(expr.type, Kernel | User):
        return expr
    return tree.AddressAs(operand=expr, type=U64, span=expr.span)


def _both_fold(op: str, left: object, right: object) -> bool:
    if op in ("is", "is not"):
        return left is None or right is None or (isinstance(left, bool) and isinstance(right, bool))
    return isinstance(left, FOLDABLE) and isinstance(right, FOLDABLE)


def compare_ints(context: Context, op: CompareOp, left: tree.Expr, right: tree.Expr, span: Span) -> Test:
    """A comparison by mathematical value; what follows for the variables compared is noted in both states."""
    yes, no = split(context)
    narrow_comparison(context, op, left, right, yes, no)
    return Test(tree.Compare(op=op, left=left, right=right, span=span), None, yes, no)


def _identity(context: Context, negate: bool, left: Operand, right: Operand, span: Span) -> Test:
    """``x is None`` and ``x is not None``."""
    if not (isinstance(right, Static) and right.value is None):
        raise context.refusal(
            Code.E0310,
            span,
            "`is` compares with `None` only",
            help="write `==`" if not negate else "write `!=`",
        )
    if isinstance(left, FoundInt | MaybeVariable):
        found = presence_test(context, left)
    else:
        found = _reference_presence(context, left, span)
    if negate:
        return found
    known = None if found.known is None else not found.known
    expr = None if found.expr is None else negated(found.expr, span)
    return Test(expr, known, found.no, found.yes, found.enter_no, found.enter_yes)


def _reference_presence(context: Context, left: Operand, span: Span) -> Test:
    if isinstance(left, Static):
        return constant_test(context, left.value is not None)
    expr = conversions.runtime(context, left)
    if isinstance(expr.type, Kernel | User):
        yes, no = split(context)
        return Test(tree.IsNone(operand=expr, negated=True, span=span), None, yes, no)
    if not isinstance(expr.type, Maybe):
        conversions.refuse_unevaluated(context, expr, span, "this is never `None`")
        return constant_test(context, True)
    yes, no = split(context)
    variable = variable_of(context, expr)
    if variable is not None:
        yes.narrow(variable, expr.type.of)
        no.narrow(variable, NONE)
    return Test(tree.IsNone(operand=expr, negated=True, span=span), None, yes, no)


def _contains(context: Context, negate: bool, left: Operand, right: Operand, span: Span) -> Test:
    if isinstance(right, Static) and isinstance(declaration_of(right.value), MapDecl):
        found: Test = contains(context, left, right, span)
    elif isinstance(left, Static) and isinstance(right, Static) and isinstance(left.value, FOLDABLE):
        found = constant_test(
            context, bool(fold(context, span, lambda: _FOLD["in"](left.value, right.value)).value)
        )
    elif isinstance(right, Static) and isinstance(right.value, tuple | frozenset | range):
        items = sorted(right.value) if isinstance(right.value, frozenset) else right.value
        found = _among(context, left, right.value, [Static(item, right.span) for item in items], span)
    elif isinstance(right, Items):
        for late in right.items[1:]:
            conversions.refuse_unevaluated(
                context, late, late.span, "this is evaluated only where the others before it are not equal"
            )
        found = _among(context, left, (), list(right.items), span)
    else:
        if isinstance(right, Static) and not isinstance(right.value, FOLDABLE):
            conversions.runtime(context, right)  # refuses lists, sets and dicts with what to use instead
        raise context.refusal(
            Code.E0310,
            span,
            "`in` searches maps, tuples and ranges",
            help="write a loop" if isinstance(right, tree.Node) else (),
        )
    if not negate:
        return found
    known = None if found.known is None else not found.known
    return Test(None if found.expr is None else negated(found.expr, span), known, found.no, found.yes)


def _among(context: Context, left: Operand, whole: object, items: list[Operand], span: Span) -> Test:
    """``x in (a, b, c)``: equal to one of them; in a range: between its ends."""
    bound, again = _bind_once(context, left)
    if isinstance(whole, range) and whole.step == 1 and len(whole) > 0:
        low = compare(context, ">=", bound, Static(whole.start, span), span)
        context.state = low.yes
        high = compare(context, "<", again, Static(whole.stop, span), span)
        parts = tuple(t.expr for t in (low, high) if t.expr is not None)
        no = join_states(low.no, high.no)
        return Test(tree.Logic(conjunction=True, operands=parts, span=span), None, high.yes, no)
    yes: State | None = None
    parts_list: list[tree.Expr] = []
    for item in items:
        found = compare(context, "==", bound, item, span)
        if found.expr is not None:
            bound = again
            parts_list.append(found.expr)
            yes = join_states(yes, found.yes)
            context.state = found.no
        elif found.known:
            return constant_test(context, True)
    if not parts_list:
        conversions.refuse_unevaluated(context, bound, span, "this is never among them")
        return constant_test(context, False)
    whole_expr = (
        parts_list[0]
        if len(parts_list) == 1
        else tree.Logic(conjunction=False, operands=tuple(parts_list), span=span)
    )
    return Test(whole_expr, None, yes, context.state)


def _compare_references(context: Context, op: str, left: tree.Expr, right: tree.Expr, span: Span) -> Test:
    assert isinstance(left.type, Ref) and isinstance(right.type, Ref)
    one, two = left.type.layout, right.type.layout
    if isinstance(one, BytesType) and isinstance(two, BytesType) and op in ("==", "!="):
        result = equal_bytes(context, left, right, span)
        if isinstance(result, bool):
            for side in (left, right):
                conversions.refuse_unevaluated(context, side, span, "these byte strings are never equal")
            return constant_test(context, result == (op == "=="))
        yes, no = split(context)
        return Test(result if op == "==" else negated(result, span), None, yes, no)
    if isinstance(one, StructType) or isinstance(two, StructType):
        raise context.refusal(
            Code.E0310,
            span,
            f"structs are not compared with `{op}`",
            notes=["padding and unions have no defined contents to compare"],
            help="compare the fields that matter",
        )
    raise context.refusal(
        Code.E0310, span, f"{describe(left.type)} and {describe(right.type)} cannot be compared with `{op}`"
    )
