"""``match``: constants (dotted names and literals), ``|``, captures, ``_``, ``None`` and guards, as a chain of tests.

The subject is evaluated once. Patterns that look into objects (classes, sequences, mappings) are refused.
"""

from __future__ import annotations

from pyebpf.codes import Code
from pyebpf.frontend import conversions, tree
from pyebpf.frontend.assignment import assign, keep
from pyebpf.frontend.blocks import block, statement
from pyebpf.frontend.comparisons import compare
from pyebpf.frontend.conditions import test
from pyebpf.frontend.expressions import operand
from pyebpf.frontend.flow import State, join_states
from pyebpf.frontend.outcomes import Test, constant_test
from pyebpf.frontend.session import Context
from pyebpf.frontend.statements import branch
from pyebpf.frontend.types import BOOL, Bool
from pyebpf.frontend.values import FoundInt, Operand, Static
from pyebpf.hints import Any

_REFUSED = {
    "MatchClass": "a class pattern",
    "MatchMapping": "a mapping pattern",
    "MatchSequence": "a sequence pattern",
    "MatchStar": "a `*` pattern",
}


@statement("Match")
def _match(context: Context, node: Any) -> None:
    found = operand(context, node.subject)
    if isinstance(found, FoundInt):
        raise context.refusal(
            Code.E0311,
            node.subject,
            "the subject of a `match` is an integer or `None`",
            help="assign it to a variable, test that with `is None`, and match it then",
        )
    subject = keep(context, found)
    _cases(context, subject, list(node.cases), context.span(node))


def _cases(context: Context, subject: Operand, cases: list[Any], span: Any) -> None:
    """One case, then the others where it does not apply."""
    if not cases or context.state is None:
        for case in cases:
            context.coverage.skip(case)
        return
    case, rest = cases[0], cases[1:]
    context.coverage.mark(case)
    found = _pattern(context, subject, case.pattern).settled()
    if found.known is False:
        for child in (case.pattern, *([case.guard] if case.guard is not None else []), *case.body):
            context.coverage.skip(child)
        context.state = found.no
        _cases(context, subject, rest, span)
        return
    context.state = found.yes
    otherwise = found.no
    with context.collecting() as bound:
        _capture(context, subject, case.pattern)
        guard = test(context, case.guard) if case.guard is not None else None
    if guard is None or guard.known is True:
        if guard is not None:
            context.state = guard.yes
        body = (*bound, *block(context, case.body))
        after, context.state = context.state, otherwise
        with context.collecting() as others:
            _cases(context, subject, rest, span)
        context.state = join_states(after, context.state)
        if found.known:
            context.out += body
        else:
            branch(context, found, body, tuple(others), context.span(case.pattern))
        return
    _guarded(context, subject, case, rest, (found, guard, tuple(bound)), otherwise, span)


def _guarded(
    context: Context,
    subject: Operand,
    case: Any,
    rest: list[Any],
    parts: tuple[Test, Test, tree.Body],
    otherwise: State | None,
    span: Any,
) -> None:
    """A case with a guard: where the pattern or the guard fails, the other cases are tried."""
    found, guard, bound = parts
    guard = guard.settled()
    context.state = guard.yes
    body: tree.Body = ()
    if context.state is not None:
        body = block(context, case.body)
    else:
        for child in case.body:
            context.coverage.skip(child)
    after = context.state
    context.state = join_states(otherwise, guard.no)
    with context.collecting() as others:
        _cases(context, subject, rest, span)
    context.state = join_states(after, context.state)
    holds = guard.expr
    if holds is None:  # never
        context.out += [*bound, *others]
        return
    # The captures are made before the guard is tested, so they cannot be part of its expression: a flag tells
    # whether the case applied.
    applied = context.temporary(BOOL, context.span(case.pattern))
    set_flag = tree.SetLocal(local=applied, value=holds, span=holds.span)
    if found.expr is None:
        context.out += [*bound, set_flag]
    else:
        no = tree.IntConst(value=0, type=BOOL, span=holds.span)
        clear = tree.SetLocal(local=applied, value=no, span=holds.span)
        context.out.append(
            tree.If(
                test=found.expr, body=(*bound, set_flag), orelse=(clear,), span=context.span(case.pattern)
            )
        )
    flag = tree.GetLocal(local=applied, type=BOOL, span=holds.span)
    context.out.append(tree.If(test=flag, body=body, orelse=tuple(others), span=context.span(case.pattern)))


def _pattern(context: Context, subject: Operand, pattern: Any) -> Test:
    """The test that a pattern stands for."""
    context.coverage.mark(pattern)
    span = context.span(pattern)
    match type(pattern).__name__:
        case "MatchValue":
            value = operand(context, pattern.value)
            if not isinstance(value, Static):
                raise context.refusal(
                    Code.E0404, pattern, "a pattern compares with constants only", help="use `if`"
                )
            return compare(context, "==", subject, value, span)
        case "MatchSingleton":
            if pattern.value is None:
                return compare(context, "is", subject, Static(None, span), span)
            expr = conversions.runtime(context, subject)
            if not isinstance(expr.type, Bool):
                raise context.refusal(Code.E0404, pattern, f"`{pattern.value}` matches bools only")
            return compare(context, "==", expr, Static(pattern.value, span), span)
        case "MatchOr":
            return _alternatives(context, subject, pattern)
        case "MatchAs":
            if pattern.pattern is None:
                return constant_test(context, True)
            return _pattern(context, subject, pattern.pattern)
        case kind:
            raise context.refusal(
                Code.E0404,
                pattern,
                f"{_REFUSED.get(kind, 'this pattern')} cannot be compiled",
                notes=["patterns are constants, names, `_`, `None` and alternatives of these with `|`"],
            )


def _alternatives(context: Context, subject: Operand, pattern: Any) -> Test:
    parts: list[tree.Expr] = []
    yes: State | None = None
    for position, child in enumerate(pattern.patterns):
        found = _pattern(context, subject, child).settled()
        yes = join_states(yes, found.yes)
        if found.known:
            for rest in pattern.patterns[position + 1 :]:
                context.coverage.skip(rest)
            return Test(None, True, found.yes if not parts else yes, None)
        if found.expr is not None:
            parts.append(found.expr)
        context.state = found.no
    if not parts:
        return Test(None, False, None, context.state)
    whole = (
        parts[0]
        if len(parts) == 1
        else tree.Logic(conjunction=False, operands=tuple(parts), span=context.span(pattern))
    )
    return Test(whole, None, yes, context.state)


def _capture(context: Context, subject: Operand, pattern: Any) -> None:
    """Assign what the pattern's names capture: the subject."""
    if type(pattern).__name__ != "MatchAs":
        return
    if pattern.name is not None:
        context.coverage.mark(pattern.name)
        variable = context.scope.variable(pattern.name.name)
        if variable is None:
            raise context.bug("capture without a variable", context.span(pattern))
        assign(context, variable, subject, context.span(pattern.name))
    if pattern.pattern is not None:
        _capture(context, subject, pattern.pattern)
