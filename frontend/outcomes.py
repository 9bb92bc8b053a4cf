"""The result of analysing a condition: its expression, and what is known of the variables in either case."""

from __future__ import annotations

from pyebpf.diagnostics import Span
from pyebpf.frontend import arithmetic, tree
from pyebpf.frontend.flow import State
from pyebpf.frontend.session import Context
from pyebpf.frontend.values import Operand, Static
from pyebpf.records import dataclass


@dataclass(slots=True)
class Test:
    """A condition. ``known``: its value where it is constant, else ``expr`` computes it. ``yes`` and ``no``: the state
    where it holds and where it does not; None where that cannot happen. ``enter_yes`` and ``enter_no``: an assignment
    to be made first thing where it holds, or does not (``settled`` moves it into the expression)."""

    expr: tree.Expr | None
    known: bool | None
    yes: State | None
    no: State | None
    enter_yes: tree.SetLocal | None = None
    enter_no: tree.SetLocal | None = None

    def settled(self) -> Test:
        """The same condition without assignments to be made afterwards."""
        expr = self.expr
        if expr is None or (self.enter_yes is None and self.enter_no is None):
            return self
        if self.enter_yes is not None:
            operands: tuple[tree.Expr, ...] = (expr, _always(self.enter_yes))
            expr = tree.Logic(conjunction=True, operands=operands, span=expr.span)
        if self.enter_no is not None:
            operands = (expr, negated(_always(self.enter_no), expr.span))
            expr = tree.Logic(conjunction=False, operands=operands, span=expr.span)
        return Test(expr, self.known, self.yes, self.no)

    def result(self, span: Span) -> Operand:
        """The condition as an operand."""
        if self.known is not None:
            return Static(self.known, span)
        assert self.expr is not None
        return self.expr


def _always(assignment: tree.SetLocal) -> tree.Expr:
    """A comparison that always holds, to make an assignment inside a condition."""
    kind = arithmetic.int_type(assignment.value)
    span = assignment.span
    bound = tree.Bind(local=assignment.local, value=assignment.value, type=kind, span=span)
    return tree.Compare(op=tree.CompareOp.GE, left=bound, right=arithmetic.constant(kind.lo, span), span=span)


def negated(expr: tree.Expr, span: Span) -> tree.Expr:
    """The negation of a Bool, without double negations."""
    match expr:
        case tree.Not():
            return expr.operand
        case tree.IsNone():
            return tree.IsNone(operand=expr.operand, negated=not expr.negated, span=span)
        case _:
            return tree.Not(operand=expr, span=span)


def constant_test(context: Context, known: bool) -> Test:
    """A condition that is known: the other case cannot happen."""
    return Test(None, known, context.state if known else None, None if known else context.state)


def split(context: Context) -> tuple[State, State]:
    """Two copies of the current state, for the two outcomes of a test."""
    if context.state is None:
        raise context.bug("condition in unreachable code")
    return context.state.copy(), context.state.copy()
