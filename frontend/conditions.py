"""Conditions: truth, ``not``, ``and``, ``or``, and the choice between two values.

``test`` gives a condition together with what is known of the variables in either case (``outcomes.Test``).
"""

from __future__ import annotations

from collections.abc import Callable

from pyebpf.codes import Code
from pyebpf.diagnostics import Label, Span
from pyebpf.frontend import arithmetic, conversions, tree
from pyebpf.frontend.expressions import FOLDABLE, expression, operand
from pyebpf.frontend.flow import State, join_states
from pyebpf.frontend.narrowing import narrow_comparison
from pyebpf.frontend.optionals import bind_optional, truth_of_optional, truth_of_reference
from pyebpf.frontend.outcomes import Test, constant_test, negated, split
from pyebpf.frontend.session import Context, Refused
from pyebpf.frontend.types import Bool, Int, Maybe, NoneT
from pyebpf.frontend.values import (
    FoundInt,
    Items,
    MaybeVariable,
    Mismatch,
    Operand,
    OptionalInt,
    Static,
    describe,
    join,
)
from pyebpf.hints import Any

Tester = Callable[[Context, Any], Test]


_TESTERS: dict[str, Tester] = {}


def tester(name: str) -> Callable[[Tester], Tester]:
    """Register the handler that gives an astroid class its meaning as a condition."""

    def register(handler: Tester) -> Tester:
        _TESTERS[name] = handler
        return handler

    return register


def test(context: Context, node: Any) -> Test:
    """An expression as a condition. The context's state afterwards is not meaningful: take ``yes`` or ``no``."""
    if type(node).__name__ == "UnaryOp" and node.op == "not":
        context.coverage.mark(node)
        inner = test(context, node.operand)
        known = None if inner.known is None else not inner.known
        expr = None if inner.expr is None else negated(inner.expr, context.span(node))
        return Test(expr, known, inner.no, inner.yes, inner.enter_no, inner.enter_yes)
    handler = _TESTERS.get(type(node).__name__)
    if handler is not None:
        context.coverage.mark(node)
        return handler(context, node)
    return truth_test(context, operand(context, node))


def truth_test(context: Context, found: Operand) -> Test:
    """Whether an operand is true; narrows a variable that may be None."""
    match found:
        case Static(value=value) if isinstance(value, FOLDABLE):
            return constant_test(context, bool(value))
        case FoundInt() | MaybeVariable():
            return truth_of_optional(context, found)
        case Items(items=items):
            conversions.refuse_unevaluated(context, found, found.span, "a tuple is true if it is not empty")
            return constant_test(context, bool(items))
    expr = conversions.runtime(context, found)
    if isinstance(expr.type, Maybe):
        return truth_of_reference(context, expr)
    if isinstance(expr, tree.IntConst):
        return constant_test(context, bool(expr.value))
    result = conversions.truth(context, expr)
    yes, no = split(context)
    if isinstance(expr.type, Int) and isinstance(expr, tree.GetLocal | tree.Bind):
        narrow_comparison(context, tree.CompareOp.NE, expr, arithmetic.constant(0, expr.span), yes, no)
    return Test(result, None, yes, no)


@tester("BoolOp")
def _logic(context: Context, node: Any) -> Test:
    conjunction = node.op == "and"
    parts: list[tree.Expr] = []
    decided: State | None = None  # joined states in which an operand before the last has decided
    for position, child in enumerate(node.values):
        found = test(context, child).settled()
        go_on, stop = (found.yes, found.no) if conjunction else (found.no, found.yes)
        if found.known is None:
            assert found.expr is not None
            parts.append(found.expr)
            decided = join_states(decided, stop)
            context.state = go_on
            if go_on is None:  # it is evaluated, but always decides
                for rest in node.values[position + 1 :]:
                    context.coverage.skip(rest)
                return _logic_result(context, node, parts, None, decided, known=not conjunction)
        elif found.known is not conjunction:  # decides the whole: what follows is never evaluated
            for rest in node.values[position + 1 :]:
                context.coverage.skip(rest)
            if parts:
                parts.append(tree.IntConst(value=int(not conjunction), type=Bool(), span=context.span(child)))
            return _logic_result(
                context, node, parts, None, join_states(decided, stop), known=not conjunction
            )
    return _logic_result(context, node, parts, context.state, decided, known=conjunction)


def _logic_result(
    context: Context,
    node: Any,
    parts: list[tree.Expr],
    through: State | None,
    decided: State | None,
    *,
    known: bool,
) -> Test:
    conjunction = node.op == "and"
    yes, no = (through, decided) if conjunction else (decided, through)
    if not parts:
        return Test(None, known, yes, no)
    if len(parts) == 1:
        return Test(parts[0], None, yes, no)
    return Test(
        tree.Logic(conjunction=conjunction, operands=tuple(parts), span=context.span(node)), None, yes, no
    )


@expression("BoolOp")
def _logic_value(context: Context, node: Any) -> Operand:
    """``a and b`` as a value: the operand that decides, as in Python. Of bools only: a Bool."""
    return _decide(context, node.op == "and", node.values, context.span(node))


def _decide(context: Context, conjunction: bool, values: list[Any], span: Span) -> Operand:
    first, rest = values[0], values[1:]
    if not rest:
        return operand(context, first)
    left: Operand
    only_bool = _gives_bool(first)
    if only_bool:
        found = test(context, first).settled()
        left = found.result(context.span(first))

        kept = _decided(context.span(first))
    else:
        original = operand(context, first)
        only_bool = isinstance(original, tree.Node) and isinstance(original.type, Bool)
        left, kept = bind_for_choice(context, original)
        found = truth_test(context, left).settled()
    if found.known is not None:
        context.state = found.yes if found.known else found.no
        if found.known is conjunction:
            return _decide(context, conjunction, rest, span)
        for node in rest:
            context.coverage.skip(node)
        return left
    assert found.expr is not None
    context.state = found.yes if conjunction else found.no
    if context.state is None:  # it is evaluated, but always decides
        for node in rest:
            context.coverage.skip(node)
        context.state = found.no if conjunction else found.yes
        return left
    right = _decide(context, conjunction, rest, span)
    context.state = join_states(context.state, found.no if conjunction else found.yes)
    if only_bool and isinstance(left, tree.Node):
        if isinstance(right, Static) and isinstance(right.value, bool):
            right = conversions.runtime(context, right)
        if isinstance(right, tree.Node) and isinstance(right.type, Bool):
            return tree.Logic(conjunction=conjunction, operands=(left, right), span=span)
    other = kept(conjunction)
    arms = (right, other) if conjunction else (other, right)
    return conditional(context, found.expr, arms[0], arms[1], span)


def _gives_bool(node: Any) -> bool:
    return type(node).__name__ == "Compare" or (type(node).__name__ == "UnaryOp" and node.op == "not")


def _decided(span: Span) -> Callable[[bool], Operand]:
    return lambda conjunction: Static(not conjunction, span)


def _same(found: Operand) -> Callable[[bool], Operand]:
    return lambda _: found


def bind_for_choice(context: Context, left: Operand) -> tuple[Operand, Callable[[bool], Operand]]:
    """An operand that is evaluated once for its truth, and then perhaps again as the value of an ``and`` or ``or``."""
    if isinstance(left, FoundInt | MaybeVariable):
        return bind_optional(context, left)
    expr = conversions.runtime(context, left)
    if isinstance(expr, tree.GetLocal):
        return expr, _same(expr)
    if isinstance(expr.type, Bool):
        return expr, _decided(expr.span)
    local = context.temporary(expr.type, expr.span)
    again = tree.GetLocal(local=local, type=expr.type, span=expr.span)
    return tree.Bind(local=local, value=expr, type=expr.type, span=expr.span), _same(again)


@expression("IfExp")
def _conditional(context: Context, node: Any) -> Operand:
    found = test(context, node.test).settled()
    if found.known is not None:
        taken, skipped = (node.body, node.orelse) if found.known else (node.orelse, node.body)
        context.coverage.skip(skipped)
        context.state = found.yes if found.known else found.no
        return operand(context, taken)
    assert found.expr is not None
    if found.yes is None or found.no is None:  # the test is evaluated, but its outcome is known
        taken, skipped = (node.orelse, node.body) if found.yes is None else (node.body, node.orelse)
        context.coverage.skip(skipped)
        context.state = found.no if found.yes is None else found.yes
        arm = operand(context, taken)
        return conditional(context, found.expr, arm, arm, context.span(node))
    context.state = found.yes
    then = operand(context, node.body)
    after, context.state = context.state, found.no
    otherwise = operand(context, node.orelse)
    context.state = join_states(after, context.state)
    return conditional(context, found.expr, then, otherwise, context.span(node))


def conditional(
    context: Context, chosen: tree.Expr, then: Operand, otherwise: Operand, span: Span
) -> tree.Expr:
    """``then if chosen else otherwise`` of two operands, in their common type."""
    none = [isinstance(o, Static) and o.value is None for o in (then, otherwise)]
    if any(none) and not all(none):
        other = conversions.runtime(context, otherwise if none[0] else then)
        if isinstance(other.type, Int | Bool):
            raise context.refusal(
                Code.E0301,
                span,
                "an integer or `None` can be held by a variable only",
                help="assign it in the branches of an `if` statement",
            )
        kind = join(other.type, NoneT())
        if not isinstance(kind, Maybe):
            raise conversions.refuse_type(context, other, "a reference")
        null = tree.NullConst(type=kind, span=span)
        arms: tuple[tree.Expr, tree.Expr] = (null, other) if none[0] else (other, null)
        return tree.Conditional(test=chosen, then=arms[0], otherwise=arms[1], type=kind, span=span)
    one, two = conversions.runtime(context, then), conversions.runtime(context, otherwise)
    try:
        joined = join(one.type, two.type)
    except Mismatch as mismatch:
        if mismatch.mixed_sign:
            raise _mixed_arms(context, one, two, span) from None
        raise context.refusal(
            Code.E0305,
            span,
            f"this is {describe(one.type)} or {describe(two.type)}",
            labels=[Label(one.span, describe(one.type)), Label(two.span, describe(two.type))],
            notes=["both alternatives must have one type"],
        ) from None
    assert not isinstance(joined, OptionalInt)
    return tree.Conditional(
        test=chosen,
        then=conversions.to_variable(context, one, joined),
        otherwise=conversions.to_variable(context, two, joined),
        type=joined,
        span=span,
    )


def _mixed_arms(context: Context, one: tree.Expr, two: tree.Expr, span: Span) -> Refused:
    unsigned, signed = (one, two) if arithmetic.int_type(one).unsigned else (two, one)
    return context.refusal(
        Code.E0303,
        span,
        "this is a `u64` or a value that may be negative",
        labels=[Label(unsigned.span, "this is `u64`"), Label(signed.span, "this may be negative")],
        notes=["no 64-bit type holds both"],
        help="convert one side with `i64(…)` or `u64(…)`",
    )
