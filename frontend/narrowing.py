"""What a comparison tells of the variables compared: narrower intervals on either branch.

The verifier follows that (``seen``) only for comparisons with constants: of two registers kernels before 6.8 learn
nothing.
"""

from __future__ import annotations

from pyebpf.frontend import tree
from pyebpf.frontend.expressions import variable_of
from pyebpf.frontend.flow import State, Variable
from pyebpf.frontend.session import Context
from pyebpf.frontend.tree import CompareOp
from pyebpf.frontend.types import Int

_MIRROR = {
    CompareOp.LT: CompareOp.GT,
    CompareOp.LE: CompareOp.GE,
    CompareOp.GT: CompareOp.LT,
    CompareOp.GE: CompareOp.LE,
    CompareOp.EQ: CompareOp.EQ,
    CompareOp.NE: CompareOp.NE,
}


_OPPOSITE = {
    CompareOp.LT: CompareOp.GE,
    CompareOp.LE: CompareOp.GT,
    CompareOp.GT: CompareOp.LE,
    CompareOp.GE: CompareOp.LT,
    CompareOp.EQ: CompareOp.NE,
    CompareOp.NE: CompareOp.EQ,
}


def narrow_comparison(
    context: Context, op: CompareOp, left: tree.Expr, right: tree.Expr, yes: State, no: State
) -> None:
    """Narrow the variables compared, in the state where the comparison holds and in the one where it does not."""
    for expr, other, relation in ((left, right, op), (right, left, _MIRROR[op])):
        variable = variable_of(context, expr)
        if variable is not None and isinstance(other.type, Int):
            constant = isinstance(other, tree.IntConst)
            _narrow(yes, variable, relation, other.type, constant)
            _narrow(no, variable, _OPPOSITE[relation], other.type, constant)


def _narrow(state: State, variable: Variable, op: CompareOp, other: Int, constant: bool) -> None:
    kind = state.known[variable].type
    if not isinstance(kind, Int):
        return
    lo, hi = kind.lo, kind.hi
    match op:
        case CompareOp.LT:
            hi = min(hi, other.hi - 1)
        case CompareOp.LE:
            hi = min(hi, other.hi)
        case CompareOp.GT:
            lo = max(lo, other.lo + 1)
        case CompareOp.GE:
            lo = max(lo, other.lo)
        case CompareOp.EQ:
            lo, hi = max(lo, other.lo), min(hi, other.hi)
        case CompareOp.NE if other.lo == other.hi == lo:
            lo += 1
        case CompareOp.NE if other.lo == other.hi == hi:
            hi -= 1
    if (lo, hi) != (kind.lo, kind.hi) and lo <= hi:
        seen = kind.seen and constant and op is not CompareOp.NE
        state.narrow(variable, Int(kind.unsigned, lo, hi, seen, kind.exact and other.exact))
