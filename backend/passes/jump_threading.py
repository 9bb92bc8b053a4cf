"""Jump threading: who knows which way a later branch will go, goes there directly.

::

    ok:    jump join                               ok:    jump cont
    bad:   jump join                               bad:   jump fail
    join:  %code = phi i64 [ok: %0, bad: %3]   →   cont:  …
           %1 = cmp ne %code, %0                   fail:  …
           branch %1, fail, cont

Inlined functions report errors through a phi of codes that the caller tests at once; ``and``, ``or`` and
chained comparisons join booleans in the same way. The block between may only hold phis and pure operations
that nobody else uses; values of its phis that are needed further on are joined again where the ways meet.
Loop headers are left alone: to thread through one would give the loop a second entry.

Requires: ``constant_folding`` before. Invalidates: blocks and edges; new phis appear, perhaps trivial ones.
"""

from __future__ import annotations

from pyebpf.backend.passes.evaluate import evaluate
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir.cfg import Dominators, uses
from pyebpf.ir.edit import block_names, remove_unreachable_blocks, retarget
from pyebpf.ir.ops import Block, Branch, Const, Effects, Function, Jump, Op, Phi, Value
from pyebpf.ir.ssa import rejoin
from pyebpf.ir.types import IntTy

if TYPE_CHECKING:
    from typing import Final


LIMIT: Final = 4
"""Pure operations that a threaded block may hold besides phis."""

LOOK_BACK: Final = 8
"""Blocks to go back in search of a branch on the same condition."""


def run(function: Function) -> bool:
    """Thread until nothing more can be. Returns whether anything changed."""
    changed = False
    done: set[Block] = set()
    again = True
    while again:
        again = False
        dominators = Dominators(function)
        users = uses(function)
        for block in dominators.order:
            if block not in done and _thread(function, block, dominators, users):
                # Edges have changed, so that dominators and users are out of date; a block is threaded only
                # once.
                done.add(block)
                changed = again = True
                break
    return changed


def _thread(
    function: Function, block: Block, dominators: Dominators, users: dict[Value, list[Value]]
) -> bool:
    branch = block.ops[-1]
    phis = block.phis()
    if not isinstance(branch, Branch) or branch.then is branch.otherwise:
        return False
    preds = [p for p in dominators.preds[block] if dominators.reachable(p)]
    if len(preds) < 2 or any(dominators.dominates(block, p) for p in preds):
        return False
    between = block.ops[len(phis) : -1]
    inside = set(between) | {branch}
    if len([op for op in between if not isinstance(op, Const)]) > LIMIT:
        return False
    for op in between:
        if op.EFFECTS != Effects.NONE or any(user not in inside for user in users[op]):
            return False
    ways: dict[Block, Block] = {}
    for pred in preds:
        taken = _computed(branch, phis, between, pred)
        if taken is None:
            taken = _branched(branch.condition, pred, block, dominators)
        if taken is not None:
            ways[pred] = branch.then if taken else branch.otherwise
    if not ways:
        return False
    names = block_names(function)
    given: dict[Phi, dict[Block, Value]] = {phi: {} for phi in phis}
    for pred, target in ways.items():
        middle = Block(names.fresh(f"{pred.name}.to.{target.name}"), [Jump(target, span=branch.span)])
        function.blocks.insert(function.blocks.index(pred) + 1, middle)
        retarget(pred.terminator, block, middle)
        for phi in phis:
            given[phi][middle] = phi.incoming.pop(pred)
        for phi in target.phis():
            value = phi.incoming[block]
            phi.incoming[middle] = (
                given[value][middle] if isinstance(value, Phi) and value in given else value
            )
    for phi in phis:
        if any(user not in inside for user in users[phi]):
            rejoin(function, phi, block, given[phi])
    remove_unreachable_blocks(function)
    return True


def _computed(branch: Branch, phis: list[Phi], between: list[Op], pred: Block) -> bool | None:
    """The condition as it is when the block is entered from ``pred``, if constant inputs decide it."""
    known: dict[Value, int] = {}
    for phi in phis:
        value = phi.incoming[pred]
        if isinstance(value, Const) and isinstance(value.type, IntTy):
            known[phi] = value.value
    for op in between:
        operands = list(op.operands())
        if all(o in known or isinstance(o, Const) for o in operands):
            values = [o.value if isinstance(o, Const) else known[o] for o in operands]
            result = evaluate(op, values)
            if result is not None:
                known[op] = result
    taken = known.get(branch.condition)
    return None if taken is None else bool(taken)


def _branched(condition: Value, pred: Block, block: Block, dominators: Dominators) -> bool | None:
    """The condition as it is when the block is entered from ``pred``, if a branch on the way there decided
    it."""
    for _ in range(LOOK_BACK):
        before = pred.ops[-1]
        if (
            isinstance(before, Branch)
            and before.condition is condition
            and before.then is not before.otherwise
        ):
            return before.then is block
        if len(dominators.preds[pred]) != 1:
            return None
        pred, block = dominators.preds[pred][0], pred
    return None
