"""Compare-and-branch fusion: a comparison that only decides branches moves into them.

::

    %1 = and i64 %flags, %mask
    %2 = const i64 0                         if test %flags, %mask, set, clear
    %3 = cmp ne %1, %2                 →
    branch %3, set, clear

The instruction set compares and jumps in one, so a fused comparison costs nothing. A comparison with other
users too (it is stored or joined) stays, because its result is needed anyway. ``(x & m) != 0`` becomes the
``TEST`` relation.

Requires: to be the last pass but layout: nothing else looks into ``CompareBranch``. Invalidates: comparisons
that were moved are gone.
"""

from __future__ import annotations

from pyebpf.ir import ops
from pyebpf.ir.cfg import uses
from pyebpf.ir.edit import remove_ops
from pyebpf.ir.ops import BinOp, Branch, Cmp, CompareBranch, Const, Function, Pred, Value


def run(function: Function) -> bool:
    """Fuse where it pays. Returns whether anything changed."""
    users = uses(function)
    dead: set[Value] = set()
    for block in function.blocks:
        branch = block.ops[-1]
        if not isinstance(branch, Branch) or not isinstance(branch.condition, Cmp):
            continue
        cmp = branch.condition
        if not all(isinstance(user, Branch) for user in users[cmp]):
            continue
        dead.add(cmp)
        block.ops[-1] = _fused(cmp, branch, users, dead)
    remove_ops(function, dead)
    return bool(dead)


def _fused(cmp: Cmp, branch: Branch, users: dict[Value, list[Value]], dead: set[Value]) -> CompareBranch:
    then, otherwise = branch.then, branch.otherwise
    fused = CompareBranch(
        cmp.pred, cmp.left, cmp.right, then, otherwise, branch.unlikely, span=cmp.span or branch.span
    )
    match cmp:
        case Cmp(
            pred=Pred.EQ | Pred.NE,
            left=ops.Binary(op=BinOp.AND) as mask,
            right=Const(value=0),
        ) if len(users[mask]) == 1 and len(users[cmp]) == 1:
            if cmp.pred is Pred.EQ:
                if branch.unlikely:  # belongs to ``then``, which would become ``otherwise``
                    return fused
                fused.then, fused.otherwise = otherwise, then
            fused.pred, fused.left, fused.right = Pred.TEST, mask.left, mask.right
            dead.add(mask)
        case _:
            pass
    return fused
