"""Loops: ``while``, and ``for`` over ranges, arrays, byte strings and constant tuples.

Which loops are accepted is decided here and in ``bounds``, by these rules:

* ``for i in range(…)``: the intervals of the bounds prove at most 2**23 iterations.
* ``while``: ``bounds.while_trips`` finds a counter or a value that shrinks.
* Every iteration is followed by the kernel's verifier, which gives up after a million instructions. The estimate,
  iterations times the size of the body (nested loops multiplied), must stay below ``WEIGHT_LIMIT``.

What is beyond that is refused with a hint to ``bpf.loop``, whose body is verified once. What ends, but not so that
the verifier would see it, gets a guard (``guards``).
"""

from __future__ import annotations

from pyebpf.codes import Code
from pyebpf.diagnostics import Span
from pyebpf.frontend import aggregates, arithmetic, conversions, tree
from pyebpf.frontend.arguments import plain_arguments
from pyebpf.frontend.assignment import assign, keep
from pyebpf.frontend.blocks import block, statement
from pyebpf.frontend.bounds import TRIPS_LIMIT, while_trips
from pyebpf.frontend.conditions import test
from pyebpf.frontend.expressions import operand
from pyebpf.frontend.flow import Variable, join_states
from pyebpf.frontend.guards import Trips, followed, guarded, guarded_range
from pyebpf.frontend.loop_drivers import driver_of
from pyebpf.frontend.looping import close, enter, finish, intervals, single_round
from pyebpf.frontend.session import Context
from pyebpf.frontend.types import BOOL, I64_MAX, I64_MIN, Int, Ref
from pyebpf.frontend.values import Items, Operand, Static, describe
from pyebpf.hints import Any
from pyebpf.layout import ArrayType, BytesType

# ---------------------------------------------------------------- while


@statement("While")
def _while(context: Context, node: Any) -> None:
    entry = context.state
    before = intervals(entry)
    frame = enter(context, node)
    head = intervals(context.state)
    with context.region(node):
        found = test(context, node.test)
        context.state = found.yes.copy() if found.yes is not None else None
        entering = intervals(context.state)
        body = block(context, node.body) if context.state is not None else _skipped(context, node.body)
    back = close(context, node, frame)
    ended = intervals(found.no)
    orelse = finish(context, node, frame, found.no)
    known = tree.LoopKnowledge(before, head, entering, ended, intervals(context.state))
    span = context.span(node)
    if found.known is False:
        context.out += orelse
        return
    if found.yes is None and found.expr is not None:  # the test is evaluated, but never holds
        context.out.append(tree.Evaluate(value=found.expr, span=span))
        context.out += [*([found.enter_no] if found.enter_no is not None else []), *orelse]
        return
    trips = Trips(1, True) if back is None else while_trips(context, node, entry, found.yes)
    driver = driver_of(context, trips.count, body, context.span(node.test), test=found.expr)
    if found.enter_yes is not None:
        body = (found.enter_yes, *body)
    if found.enter_no is not None:
        orelse = (found.enter_no, *orelse)
    counted = driver is tree.LoopDriver.COUNTER
    if found.expr is None and context.state is None and not (counted and trips.followed):
        orelse = (_unreachable(context, span),)
    if counted and not trips.followed:
        context.out += guarded(context, found.expr, body, orelse, trips.count, known, span)
        return
    expr = found.expr or tree.IntConst(value=1, type=BOOL, span=span)
    context.out.append(
        tree.While(
            test=expr,
            body=body,
            orelse=orelse,
            trips=trips.count,
            counter=trips.counter,
            driver=driver,
            known=known,
            span=span,
        )
    )


def _unreachable(context: Context, span: Span) -> tree.Stmt:
    """What stands behind ``while True`` where nothing leaves it but ``return``: the guard has such an end."""
    context.errors[-1].raised.add(tree.Exc.RUNTIME)
    return tree.Raise(exception=tree.Exc.RUNTIME, span=span)


def _skipped(context: Context, nodes: list[Any]) -> tree.Body:
    for node in nodes:
        context.coverage.skip(node)
    return ()


# ---------------------------------------------------------------- for


@statement("For")
def _for(context: Context, node: Any) -> None:
    context.coverage.mark(node.target)
    if type(node.iter).__name__ == "Call" and _is_range(context, node.iter.func):
        _for_range(context, node)
        return
    found = operand(context, node.iter)
    match found:
        case Static(value=range() as numbers):
            _iterate_range(
                context,
                node,
                Static(numbers.start, found.span),
                Static(numbers.stop, found.span),
                numbers.step,
            )
        case Static(value=tuple() | bytes() as values):
            _for_constants(context, node, tuple(values), found.span)
        case Items():
            raise context.refusal(
                Code.E0405,
                node.iter,
                "only tuples of constants can be iterated over",
                help="put the values into a `bpf.array`",
            )
        case Static():
            raise context.refusal(
                Code.E0405,
                node.iter,
                f"{conversions.what_is(found.value)} cannot be iterated over in a program",
                notes=["`for` goes over ranges, arrays, byte strings and constant tuples of integers"],
            )
        case _:
            _for_elements(context, node, found)


def _is_range(context: Context, node: Any) -> bool:
    if type(node).__name__ != "Name" or context.scope.variable(node.name) is not None:
        return False
    return context.scope.constant(node.name) is range


def _target(context: Context, node: Any) -> Variable:
    if type(node.target).__name__ != "AssignName":
        raise context.refusal(Code.E0101, node.target, "the target of this loop must be a name")
    variable = context.scope.variable(node.target.name)
    if variable is None:
        raise context.bug("loop target without a variable")
    return variable


def _for_range(context: Context, node: Any) -> None:
    call = node.iter
    context.coverage.mark(call)
    context.coverage.mark(call.func)
    plain_arguments(context, call)
    if call.keywords or not 1 <= len(call.args) <= 3:
        raise context.refusal(Code.E0903, call, "`range` takes one to three integers")
    parts = [keep(context, operand(context, child)) for child in call.args]
    start: Operand = Static(0, context.span(call))
    step = 1
    if len(parts) > 1:
        start = parts[0]
    stop = parts[1] if len(parts) > 1 else parts[0]
    if len(parts) == 3:
        third = parts[2]
        if not isinstance(third, Static) or not isinstance(third.value, int):
            raise context.refusal(
                Code.E0401,
                call.args[2],
                "the step of a `range` must be a constant",
                help="count from 0 and multiply",
            )
        step = int(third.value)
        if step == 0:
            raise context.refusal(Code.E0205, call.args[2], "the step of a `range` cannot be zero")
    _iterate_range(context, node, start, stop, step)


def _iterate_range(context: Context, node: Any, start: Operand, stop: Operand, step: int) -> None:
    first, last = _bound(context, start), _bound(context, stop)
    one, two = arithmetic.int_type(first), arithmetic.int_type(last)
    distance = two.hi - one.lo if step > 0 else one.hi - two.lo
    trips = max(0, -(-distance // abs(step)))
    if trips > TRIPS_LIMIT:
        _refuse_unbounded(context, node, last if isinstance(first, tree.IntConst) else first, trips)
    if trips == 0:
        _never(context, node)
        return
    constant = isinstance(first, tree.IntConst) and isinstance(last, tree.IntConst)
    plain = followed(context, one, two, constant_bound=isinstance(last, tree.IntConst))
    # The guard compares the counter with a constant, so the verifier knows its range.
    seen = constant or (not plain and one.seen and one.exact)
    if step > 0:
        kind = Int(False, one.lo, max(one.lo, two.hi - 1), seen, one.exact and two.exact)
    else:
        kind = Int(False, min(one.hi, two.lo + 1), one.hi, seen, one.exact and two.exact)
    if isinstance(first, tree.IntConst) and isinstance(last, tree.IntConst):
        numbers = range(first.value, last.value, step)
        kind = Int(False, min(numbers), max(numbers))
    variable = _target(context, node)
    counter = _counter(context, variable, kind, node)
    body, orelse, known, once = _run(context, node, variable, counter, kind, may_be_empty=not constant)
    if once:
        context.out.append(single_round(counter.local, first, body, known, context.span(node)))
        return
    exact = one.exact and two.exact
    driver = driver_of(context, trips, body, context.span(node.iter), exact=exact)
    if not plain and driver is tree.LoopDriver.COUNTER:
        bounds = (first, last, step)
        span = context.span(node)
        context.out += guarded_range(context, counter.local, bounds, body, orelse, trips, known, span)
        return
    context.out.append(
        tree.ForRange(
            local=counter.local,
            start=first,
            stop=last,
            step=step,
            body=body,
            orelse=orelse,
            trips=trips,
            driver=driver,
            known=known,
            span=context.span(node),
        )
    )


def _counter(context: Context, variable: Variable, kind: Int, node: Any) -> Variable:
    """The variable that the loop itself counts with; the target gets its value at the start of each iteration."""
    span = context.span(node.target)
    plain = Variable(variable.name, span, tree.Local(variable.name, kind, span))
    plain.declared = kind
    return plain


def _run(
    context: Context, node: Any, variable: Variable, counter: Variable, kind: Int, *, may_be_empty: bool
) -> tuple[tree.Body, tree.Body, tree.LoopKnowledge, bool]:
    """The body with the target assigned from the counter at its start; the ``else`` block; what is known; whether
    the first round certainly begins, and never comes to its end."""
    before = intervals(context.state)
    frame = enter(context, node)
    head = entering = intervals(context.state)
    at_head = context.state.copy() if context.state is not None else None
    with context.region(node), context.collecting() as out:
        value = tree.GetLocal(local=counter.local, type=kind, span=context.span(node.target))
        assign(context, variable, value, context.span(node.target))
        body = (*out, *block(context, node.body))
    back = close(context, node, frame)
    exhausted = join_states(at_head if may_be_empty else None, back)
    ended = intervals(exhausted)
    orelse = finish(context, node, frame, exhausted)
    once = at_head is not None and exhausted is None
    return body, orelse, tree.LoopKnowledge(before, head, entering, ended, intervals(context.state)), once


def _bound(context: Context, found: Operand) -> tree.Expr:
    expr = conversions.integer(context, found, "an integer as the bound of a `range`")
    kind = arithmetic.int_type(expr)
    if kind.unsigned and kind.hi > I64_MAX:
        # More than a range may have; refused with its reason by the caller, which sees the interval.
        return expr
    return arithmetic.as_kind(expr, False)


def _refuse_unbounded(context: Context, node: Any, bound: tree.Expr, trips: int) -> None:
    kind = arithmetic.int_type(bound)
    extreme = kind.hi >= I64_MAX or kind.lo <= I64_MIN
    count = "any number of" if extreme else f"up to {trips}"
    raise context.refusal(
        Code.E0401,
        bound.span if isinstance(bound, tree.GetLocal) else context.span(node.iter),
        f"this loop may take {count} iterations",
        label=f"this is {arithmetic.interval(kind)}",
        notes=[f"at most {TRIPS_LIMIT} iterations are allowed, and it must be shown that there are no more"],
        help="test or mask the bound before the loop (`if n > 100: …`), or use `bpf.loop(n, body, state)`",
    )


def _never(context: Context, node: Any) -> None:
    """A range that is always empty: only ``else`` runs."""
    for child in node.body:
        context.coverage.skip(child)
    context.out += block(context, node.orelse)


def _for_constants(context: Context, node: Any, values: tuple[Any, ...], span: Span) -> None:
    if not values:
        _never(context, node)
        return
    if not all(isinstance(v, int) for v in values):
        raise context.refusal(
            Code.E0405,
            span,
            "only tuples of integers can be iterated over",
            help="write the iterations one by one, or use a `bpf.array`",
        )
    numbers = tuple(int(v) for v in values)
    if min(numbers) < I64_MIN or max(numbers) > I64_MAX:
        raise context.refusal(Code.E0206, span, "the numbers of this tuple do not fit into `i64`")
    kind = Int(False, min(numbers), max(numbers))
    variable = _target(context, node)
    counter = _counter(context, variable, kind, node)
    body, orelse, known, once = _run(context, node, variable, counter, kind, may_be_empty=False)
    if once:
        only = arithmetic.constant(numbers[0], span)
        context.out.append(single_round(counter.local, only, body, known, context.span(node)))
        return
    driver = driver_of(context, len(numbers), body, context.span(node.iter))
    context.out.append(
        tree.ForConstants(
            local=counter.local,
            values=numbers,
            body=body,
            orelse=orelse,
            driver=driver,
            known=known,
            span=context.span(node),
        )
    )


def _for_elements(context: Context, node: Any, found: Operand) -> None:
    """``for x in array``: by index, each element read (or referred to) at the start of its iteration."""
    expr = conversions.runtime(context, keep(context, found))
    if not isinstance(expr.type, Ref) or not isinstance(expr.type.layout, ArrayType | BytesType):
        raise context.refusal(
            Code.E0405,
            node.iter,
            f"{describe(expr.type)} cannot be iterated over",
            help="iterate over `range(n)`" if isinstance(expr.type, Int) else (),
        )
    length = expr.type.layout.length
    span = context.span(node.iter)
    kind = Int(False, 0, length - 1)
    variable = _target(context, node)
    index = context.temporary(kind, span)
    before = intervals(context.state)
    frame = enter(context, node)
    head = entering = intervals(context.state)
    with context.region(node), context.collecting() as out:
        position = tree.GetLocal(local=index, type=kind, span=span)
        element = conversions.read(aggregates.element(context, expr, position, span))
        assign(context, variable, element, context.span(node.target))
        body = (*out, *block(context, node.body))
    back = close(context, node, frame)
    ended = intervals(back)
    orelse = finish(context, node, frame, back)
    known = tree.LoopKnowledge(before, head, entering, ended, intervals(context.state))
    first = arithmetic.constant(0, span)
    if back is None:
        context.out.append(single_round(index, first, body, known, context.span(node)))
        return
    driver = driver_of(context, length, body, span)
    context.out.append(
        tree.ForRange(
            local=index,
            start=first,
            stop=arithmetic.constant(length, span),
            step=1,
            body=body,
            orelse=orelse,
            trips=length,
            driver=driver,
            known=known,
            span=context.span(node),
        )
    )


# ---------------------------------------------------------------- break and continue


@statement("Break")
def _break(context: Context, node: Any) -> None:
    frame = context.loops[-1]
    frame.breaks = join_states(frame.breaks, context.state)
    _through_finals(context)
    context.out.append(tree.Break(span=context.span(node)))
    context.state = None


@statement("Continue")
def _continue(context: Context, node: Any) -> None:
    frame = context.loops[-1]
    frame.continues = join_states(frame.continues, context.state)
    _through_finals(context)
    context.out.append(tree.Continue(span=context.span(node)))
    context.state = None


def _through_finals(context: Context) -> None:
    """``break`` and ``continue`` run the ``finally`` blocks inside the loop."""
    for frame in context.errors[1:]:
        if frame.loops >= len(context.loops):
            frame.finals = join_states(frame.finals, context.state)
