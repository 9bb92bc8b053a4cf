"""Loops that end, but whose end the kernel's verifier would not see: they get a counter of the compiler's own.

The verifier walks through every iteration. It sees the end where a counter that it knows is compared with a
constant, or (from Linux 6.8 on) with a value whose range it knows. Elsewhere, such as for ``x &= x - 1``, the proven
number of iterations is counted down beside the user's own test; in truth that test always ends the loop first.
"""

from __future__ import annotations

from pyebpf.diagnostics import Span
from pyebpf.frontend import tree
from pyebpf.frontend.arithmetic import constant, int_type
from pyebpf.frontend.session import Context
from pyebpf.frontend.types import Int
from pyebpf.records import dataclass

REGISTERS_COMPARED_SINCE = (6, 8)
"""The first kernel whose verifier learns from a comparison of two registers."""


@dataclass(frozen=True, slots=True)
class Trips:
    """The most iterations of a loop, whether the verifier sees that there are no more, and by which variable."""

    count: int
    followed: bool
    counter: tree.Local | None = None


def followed(context: Context, start: Int, bound: Int, *, constant_bound: bool) -> bool:
    """Whether the verifier sees the end of a loop that counts from ``start`` to ``bound``."""
    if not (start.seen and start.exact):
        return False
    if constant_bound:
        return True
    known = bound.seen and bound.exact and bound.unsigned == start.unsigned
    return known and context.session.target.kernel >= REGISTERS_COMPARED_SINCE


def guarded(
    context: Context,
    test: tree.Expr | None,
    body: tree.Body,
    orelse: tree.Body,
    trips: int,
    known: tree.LoopKnowledge,
    span: Span,
) -> tuple[tree.Stmt, tree.Stmt]:
    """A ``while`` loop with a counter beside its test (None: always true): what comes before it, and the loop.

    The counter allows for one evaluation of the test more than the body runs, so the test itself decides.
    """
    kind = Int(False, 0, trips + 1)
    local = context.temporary(kind, span)
    current = tree.GetLocal(local=local, type=kind, span=span)
    more: tree.Expr = tree.Compare(
        op=tree.CompareOp.LT, left=current, right=constant(trips + 1, span), span=span
    )
    if test is not None:
        more = tree.Logic(conjunction=True, operands=(more, test), span=span)
    step = tree.SetLocal(local=local, value=_sum(current, 1, kind, span), span=span)
    before = tree.SetLocal(local=local, value=constant(0, span), span=span)
    loop = tree.While(
        test=more,
        body=(step, *body),
        orelse=orelse,
        trips=trips,
        counter=local,
        known=known,
        span=span,
    )
    return before, loop


def _sum(expr: tree.Expr, amount: int, kind: Int, span: Span) -> tree.Expr:
    return tree.Arith(op=tree.ArithOp.ADD, left=expr, right=constant(amount, span), type=kind, span=span)


def guarded_range(
    context: Context,
    local: tree.Local,
    bounds: tuple[tree.Expr, tree.Expr, int],
    body: tree.Body,
    orelse: tree.Body,
    trips: int,
    known: tree.LoopKnowledge,
    span: Span,
) -> list[tree.Stmt]:
    """``for local in range(start, stop, step)`` as a ``while`` loop whose end the verifier sees.

    A counter that it knows from the start on is compared with the greatest (least) value of ``stop``; for
    others the iterations are counted.
    """
    start, stop, step = bounds
    first, last = int_type(start), int_type(stop)
    reach = Int(False, min(first.lo, last.lo) - abs(step), max(first.hi, last.hi) + abs(step), False)
    following, end = context.temporary(reach, span), context.temporary(last, span)
    out: list[tree.Stmt] = [
        tree.SetLocal(local=following, value=start, span=span),
        tree.SetLocal(local=end, value=stop, span=span),
    ]
    position = tree.GetLocal(local=following, type=reach, span=span)
    op = tree.CompareOp.LT if step > 0 else tree.CompareOp.GT
    test: tree.Expr = tree.Compare(
        op=op, left=position, right=tree.GetLocal(local=end, type=last, span=span), span=span
    )
    head: tree.Body = (
        tree.SetLocal(local=local, value=position, span=span),
        tree.SetLocal(local=following, value=_sum(position, step, reach, span), span=span),
    )
    if first.seen and first.exact:
        edge = constant(last.hi if step > 0 else last.lo, span)
        guard = tree.Compare(op=op, left=position, right=edge, span=span)
        test = tree.Logic(conjunction=True, operands=(guard, test), span=span)
        loop = tree.While(
            test=test,
            body=(*head, *body),
            orelse=orelse,
            trips=trips,
            counter=following,
            known=known,
            span=span,
        )
        return [*out, loop]
    before, counted = guarded(context, test, (*head, *body), orelse, trips, known, span)
    return [*out, before, counted]
