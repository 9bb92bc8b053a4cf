"""Ranges: what is known of every integer of a function, from its operation and from the branches before.

An abstract interpretation: blocks are walked in the order of the dominator tree, and a branch narrows, in all blocks
that one of its sides dominates, what it compares, also through ``Zext``, ``Sext`` and ``Trunc``. A function without
loops takes one walk. Where a loop comes back, its phis take up what comes back, without the bounds that it crosses
(widening), until nothing changes; one more walk gets back what the tests in the loop say (narrowing). So
``for i in range(n)`` knows in its body that 0 <= i < n.

As a rule four walks or five, never more than ``_LAST`` and two, each linear in the operations. An operation whose
operands are the same as in the walk before is not computed again.
"""

from __future__ import annotations

from collections.abc import Set

from pyebpf import enums
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import arithmetic, number, ops, relations, results
from pyebpf.ir.cfg import Dominators
from pyebpf.ir.number import Number
from pyebpf.ir.ops import BinOp, Block, Const, Function, Phi, Pred, Value
from pyebpf.ir.types import I64, IntTy

if TYPE_CHECKING:
    from typing import Final


_GIVE_UP: Final = 6
"""Walks before phis that still change are taken for unknown."""

_LAST: Final = 9
"""The walk before which the phis of all loops are taken for unknown, so that it is the last."""

_Known = dict[Value, Number]
_Edge = tuple[Block, Block]


class View(enums.Enum):
    """Whose knowledge is asked for: all that is TRUE, or what the kernel's VERIFIER knows in every version from 6.1
    on, or less."""

    TRUE = "true"
    VERIFIER = "verifier"


class Ranges:
    """What is known of the integers of ``function``.

    Parameters:
        function: as it stands; a change makes the answers worthless.
        view: whose knowledge.
        forgotten: values of which nothing is known anywhere.

    ``contradicted`` are the values that were compared on the way to where control never comes, though the comparison
    itself is not decided: old verifiers go there all the same, with numbers that cannot be.
    """

    def __init__(
        self, function: Function, view: View = View.TRUE, *, forgotten: Set[Value] = frozenset()
    ) -> None:
        walker = _Walker(function, view, forgotten)
        walker.solve()
        self.contradicted: Set[Value] = walker.contradicted
        self._parents = walker.dominators.idom
        self._results = walker.results
        self._facts = walker.facts

    def of(self, value: Value) -> Number | None:
        """What is known of ``value`` where it is computed; None if control never comes there."""
        return self._results.get(value)

    def at(self, value: Value, block: Block) -> Number | None:
        """What is known of ``value`` in ``block``, where it is visible; None if control never comes there."""
        if block not in self._facts:
            return None
        where: Block | None = block
        while where is not None:
            known = self._facts[where].get(value)
            if known is not None:
                return known
            where = self._parents.get(where)
        return self._results.get(value)


class _Walker:
    """Walks over a function until what it finds holds everywhere.

    ``here`` is what is known at the place that the walk has come to, of every value that is visible there; ``undo`` is
    how to get back to what was known at the end of the dominating block. ``inputs`` and ``live`` are what phis get and
    which edges are taken, ``inputs_before`` and ``live_before`` those of the walk before: for edges that come back.
    """

    def __init__(self, function: Function, view: View, forgotten: Set[Value]) -> None:
        self.forgotten = forgotten
        self.contradicted: set[Value] = set()
        self.function = function
        self.view = view
        self.result_of = results.true if view is View.TRUE else results.verified
        self.dominators = Dominators(function)
        place = {block: i for i, block in enumerate(self.dominators.order)}
        self.preds = {block: [p for p in self.dominators.preds[block] if p in place] for block in place}
        self.returning = {
            (p, block) for block, i in place.items() for p in self.preds[block] if place[p] >= i
        }
        self.heads = list(
            dict.fromkeys(block for block in place for p in self.preds[block] if place[p] >= place[block])
        )
        self.phis = {block: [phi for phi in block.phis() if isinstance(phi.type, IntTy)] for block in place}
        self.integers = {
            block: [
                (op, [o for o in op.operands() if isinstance(o.type, IntTy)])
                for op in block.ops
                if isinstance(op.type, IntTy) and not isinstance(op, Phi)
            ]
            for block in place
        }
        self.extensions: dict[Value, list[Value]] = {}
        if view is View.TRUE:
            for op in function.ops():
                if isinstance(op, ops.Zext | ops.Sext | ops.Trunc):
                    self.extensions.setdefault(op.operand, []).append(op)
        self.results: _Known = {}
        self.facts: dict[Block, _Known] = {}
        self.here: _Known = {}
        self.undo: list[tuple[Value, Number | None]] = []
        self.inputs: dict[tuple[Block, Phi], Number] = {}
        self.inputs_before: dict[tuple[Block, Phi], Number] = {}
        self.live: set[_Edge] = set()
        self.live_before: set[_Edge] = set()
        self.assumed: _Known = {}  # of phis of loop heads: what came back so far
        self.memory: dict[Value, tuple[list[Number], Number | None]] = {}

    # ------------------------------------------------------------ until nothing changes

    def solve(self) -> None:
        """Walk until what comes back to every loop is known there."""
        walks = 1
        self.walk(narrowing=False)
        while walks <= _LAST and self.grown(walks):
            self.walk(narrowing=False)
            walks += 1
        if walks > 1:
            self.walk(narrowing=True)

    def grown(self, walks: int) -> bool:
        """Take up what came back to loops and was not known there. Returns whether there was any."""
        if walks == _LAST:
            self.live |= self.returning
        grown = self.live & self.returning != self.live_before & self.returning
        for head in self.heads:
            for phi in self.phis[head]:
                used = self.results.get(phi)
                found = self.joined(phi, head, used)
                if walks == _LAST:
                    found = self.unknown(phi)
                elif found is None or found == used:
                    continue
                elif walks >= _GIVE_UP:
                    found = self.unknown(phi)
                elif used is not None:
                    found = number.widen(used, found)
                grown = True
                self.assumed[phi] = found
        return grown

    def joined(self, phi: Phi, block: Block, found: Number | None) -> Number | None:
        """``found`` or anything that ``phi`` gets in this walk."""
        for pred in self.preds[block]:
            if (pred, block) in self.live:
                found = _either(found, self.inputs.get((pred, phi)))
        return found

    def unknown(self, value: Value) -> Number:
        return number.unknown(results.width_of(value), halves=self.view is View.TRUE)

    # ------------------------------------------------------------ one walk

    def walk(self, *, narrowing: bool) -> None:
        """Go through all blocks that control comes to, each after its dominator and all before it."""
        earlier = self.results
        self.inputs_before, self.inputs = self.inputs, {}
        self.live_before, self.live = self.live, set()
        self.results, self.facts = {}, {}
        self.contradicted = set()
        for param in self.function.params:
            if isinstance(param.type, IntTy):
                self.here[param] = self.results[param] = self.unknown(param)
        learned: dict[Block, _Known] = {self.function.entry: {}}
        stack: list[tuple[Block, list[tuple[Value, Number | None]] | None]] = [(self.function.entry, None)]
        while stack:
            block, undo = stack.pop()
            if undo is not None:
                self.restore(undo)
                continue
            if not self.reached(block):
                continue
            self.undo = []
            self.facts[block] = learned.pop(block, {})
            for value, known in self.facts[block].items():
                self.put(value, known)
            self.enter(block, earlier if narrowing else None)
            if self.block(block):
                undo, self.undo = self.undo, []
                for successor in block.successors():
                    more = self.leave(block, successor)
                    if len(self.preds[successor]) == 1 and more is not None:
                        learned[successor] = more
                self.undo = undo
            stack.append((block, self.undo))
            stack.extend((child, None) for child in reversed(self.dominators.children[block]))

    def reached(self, block: Block) -> bool:
        if block is self.function.entry:
            return True
        return any(
            (pred, block) in (self.live_before if (pred, block) in self.returning else self.live)
            for pred in self.preds[block]
        )

    def enter(self, block: Block, earlier: _Known | None) -> None:
        """The phis, from what comes in; with ``earlier`` (narrowing) no more than they were."""
        for phi in self.phis[block]:
            found = self.joined(phi, block, None if earlier is not None else self.assumed.get(phi))
            if earlier is not None and block in self.heads:
                for back in ((pred, block) for pred in self.preds[block]):
                    if back in self.returning and back in self.live_before:
                        found = _either(found, self.inputs_before.get((back[0], phi)))
                known = earlier.get(phi)
                found = number.meet(found, known) if found is not None and known is not None else None
            if found is not None:
                self.define(phi, found)

    def block(self, block: Block) -> bool:
        """The operations. Returns whether control comes to the end."""
        here, memory = self.here, self.memory
        for op, needed in self.integers[block]:
            operands = []
            for operand in needed:
                known = here.get(operand)
                if known is None:
                    return False
                operands.append(known)
            last = memory.get(op)
            if last is not None and last[0] == operands:  # found equal by being the same, as a rule
                found = last[1]
            else:
                found = self.result_of(op, operands)
                memory[op] = operands, found
            if found is None:
                return False
            self.define(op, found)
        return True

    def leave(self, block: Block, successor: Block) -> _Known | None:
        """Note what ``successor`` gets from ``block``. Returns what is known more on the way; None where control never
        goes it."""
        self.undo = []
        match block.terminator:
            case ops.Branch() | ops.CompareBranch() as branch if branch.then is not branch.otherwise:
                taken = self.learn(branch, branch.then is successor)
            case _:
                taken = True
        more: _Known | None = None
        if taken:
            more = {value: self.here[value] for value, _ in self.undo}
            self.live.add((block, successor))
            for phi in self.phis[successor]:
                known = self.here.get(phi.incoming[block])
                if known is not None:
                    self.inputs[block, phi] = known
        self.restore(self.undo)
        return more

    def define(self, value: Value, known: Number) -> None:
        if value in self.forgotten:
            known = self.unknown(value)
        self.results[value] = known
        self.put(value, known)

    def put(self, value: Value, known: Number) -> None:
        self.undo.append((value, self.here.get(value)))
        self.here[value] = known

    def restore(self, undo: list[tuple[Value, Number | None]]) -> None:
        for value, old in reversed(undo):
            if old is None:
                del self.here[value]
            else:
                self.here[value] = old

    # ------------------------------------------------------------ branches

    def learn(self, branch: ops.Branch | ops.CompareBranch, holds: bool) -> bool:
        """Take up what the way out of a block tells. Returns whether control can go it."""
        if isinstance(branch, ops.CompareBranch):
            return self.relate(branch, holds)
        waiting: list[tuple[Value, bool]] = [(branch.condition, holds)]
        while waiting:
            condition, holds = waiting.pop()
            known = self.here.get(condition)
            if known is None or known.constant == int(not holds):
                return False
            if known.constant is None:
                self.put(condition, number.constant(1, int(holds)))
            match condition:
                case ops.Binary(op=BinOp.AND) if holds:
                    waiting += [(condition.left, True), (condition.right, True)]
                case ops.Binary(op=BinOp.OR) if not holds:
                    waiting += [(condition.left, False), (condition.right, False)]
                case ops.Binary(op=BinOp.XOR, right=Const(value=1)):
                    waiting.append((condition.left, not holds))
                case ops.Cmp() if not self.relate(condition, holds):
                    return False
                case _:
                    pass
        return True

    def relate(self, cmp: ops.Cmp | ops.CompareBranch, holds: bool) -> bool:
        """Narrow both sides of a comparison. Returns whether its answer can be ``holds``."""
        if not isinstance(cmp.left.type, IntTy):
            return True
        left, right = self.here.get(cmp.left), self.here.get(cmp.right)
        if left is None or right is None:
            return False
        found = relations.assumed(cmp.pred, holds, left, right)
        if found is None:
            self.contradicted |= {v for v in (cmp.left, cmp.right) if not isinstance(v, Const)}
        if self.view is View.VERIFIER and not _narrows(cmp, holds):
            return True
        if found is None:
            return False
        return self.narrow(cmp.left, found[0]) and self.narrow(cmp.right, found[1])

    def narrow(self, value: Value, known: Number) -> bool:
        """Take up what is known of a value, and with it of what it was extended from and is extended to. Returns
        whether all of it can be."""
        if value in self.forgotten:
            return True
        if self.view is View.VERIFIER:  # which does no more than the comparison has done
            self.put(value, known)
            return True
        waiting = [(value, known)]
        while waiting:
            value, known = waiting.pop()
            old = self.here[value]
            met = number.meet(old, known)
            if met is None:
                return False
            if met == old or value in self.forgotten:
                continue
            self.put(value, met)
            if isinstance(value, ops.Zext | ops.Sext | ops.Trunc):
                inner = arithmetic.extended_from(self.here[value.operand], met, _low_bits(value))
                if inner is None:
                    return False
                waiting.append((value.operand, inner))
            for user in self.extensions.get(value, ()):
                if user in self.here:
                    outer = self.result_of(user, [met])
                    if outer is None:
                        return False
                    waiting.append((user, outer))
        return True


def _either(a: Number | None, b: Number | None) -> Number | None:
    return number.join(a, b) if a is not None and b is not None else a if b is None else b


def _low_bits(op: ops.Zext | ops.Sext | ops.Trunc) -> int:
    return 32 if isinstance(op, ops.Trunc) else op.bits


def _narrows(cmp: ops.Cmp | ops.CompareBranch, holds: bool) -> bool:
    """Whether every verifier learns from this answer: before 6.8 none does from comparing two unknown numbers, nor
    from finding a number unequal."""
    unequal = Pred.NE if holds else Pred.EQ
    return cmp.left.type == I64 and isinstance(cmp.right, Const) and cmp.pred is not unequal
