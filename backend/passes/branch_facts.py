"""What branches teach: behind a branch its condition is known, and with it other comparisons.

::

    branch %c, yes, no                       branch %c, yes, no
    yes:  %1 = zext.1 i64 %c          →      yes:  %1 = const i64 1
    …     %2 = cmp ult %i, %16               …     %2 = cmp ult %i, %16
          branch %2, a, b                          branch %2, a, b
    a:    %3 = cmp ne %i, %16                a:    jump c
          branch %3, c, d

In the blocks that one side of a branch dominates, the condition is true (or false); an integer found equal to
a constant is that constant; what was compared and is compared again, by the same or another relation, gives the
answer that follows; a packet pointer that was found to have N bytes before the end of the packet needs no check for
fewer. The kernel's verifier draws the same conclusions from the same values, so the checks that go were superfluous
to it too. What follows of intervals is the matter of ``range_checks``.

Requires: ``gvn`` before, so that equal values are one value. Invalidates: nothing; decided branches are left
to ``constant_folding``.
"""

from __future__ import annotations

from pyebpf.backend.passes.addresses import signed
from pyebpf.hints import TYPE_CHECKING, TypeVar
from pyebpf.ir import ops
from pyebpf.ir.cfg import Dominators
from pyebpf.ir.ops import BinOp, Block, Branch, Cmp, Const, Function, Op, Pred, Value, const
from pyebpf.ir.predicates import INVERSE, MIRRORED
from pyebpf.ir.types import I1, IntTy, PtrTy, Space
from pyebpf.records import dataclass, field

if TYPE_CHECKING:
    from typing import Final


_WITHIN: Final = {Pred.ULE: True, Pred.UGT: False, Pred.ULT: True, Pred.UGE: False}
"""For ``pointer relation end``: whether it holds when the pointer is not behind the end."""

_IMPLIED: Final = {
    Pred.EQ: frozenset({Pred.EQ, Pred.ULE, Pred.UGE, Pred.SLE, Pred.SGE}),
    Pred.NE: frozenset({Pred.NE}),
    Pred.ULT: frozenset({Pred.ULT, Pred.ULE, Pred.NE}),
    Pred.ULE: frozenset({Pred.ULE}),
    Pred.UGT: frozenset({Pred.UGT, Pred.UGE, Pred.NE}),
    Pred.UGE: frozenset({Pred.UGE}),
    Pred.SLT: frozenset({Pred.SLT, Pred.SLE, Pred.NE}),
    Pred.SLE: frozenset({Pred.SLE}),
    Pred.SGT: frozenset({Pred.SGT, Pred.SGE, Pred.NE}),
    Pred.SGE: frozenset({Pred.SGE}),
}
"""What else holds of two integers when the key does."""


_Pair = tuple[Value, Value | int]
"""What is compared; constants by their value, since they are not merged."""

_K = TypeVar("_K")
_V = TypeVar("_V")


def run(function: Function) -> bool:
    """Use what branches teach. Returns whether anything changed."""
    return _Facts(function).run()


@dataclass(slots=True)
class _Scope:
    """What was learned on entering a block, to be forgotten when its subtree is done."""

    values: list[tuple[Value, Value | None]] = field(default_factory=list)
    compared: list[tuple[_Pair, frozenset[Pred] | None]] = field(default_factory=list)
    packet: list[tuple[tuple[Value, Value], int | None]] = field(default_factory=list)


class _Facts:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.values: dict[Value, Value] = {}
        self.compared: dict[_Pair, frozenset[Pred]] = {}
        self.packet: dict[tuple[Value, Value], int] = {}
        self.changed = False

    def run(self) -> bool:
        dominators = Dominators(self.function)
        stack: list[tuple[Block, _Scope | None]] = [(self.function.entry, None)]
        while stack:
            block, leaving = stack.pop()
            if leaving is not None:
                self.forget(leaving)
                continue
            self.scope = _Scope()
            preds = dominators.preds[block]
            if len(preds) == 1:
                self.enter(preds[0], block)
            self.block(block)
            stack.append((block, self.scope))
            stack.extend((child, None) for child in reversed(dominators.children[block]))
        return self.changed

    def forget(self, scope: _Scope) -> None:
        for value, old in reversed(scope.values):
            _restore(self.values, value, old)
        for pair, relations in reversed(scope.compared):
            _restore(self.compared, pair, relations)
        for key, size in reversed(scope.packet):
            _restore(self.packet, key, size)

    # ------------------------------------------------------------ using facts

    def block(self, block: Block) -> None:
        out: list[Op] = []
        for op in block.ops:
            if not isinstance(op, ops.Phi):
                op.map_operands(lambda value: self.known(value, out))
            out.append(op)
            if isinstance(op, Cmp):
                decided = self.decide(op)
                if decided is not None:
                    self.learn_value(op, const(int(decided), I1, op.span))
        last = out.pop()
        for successor in block.successors():
            for phi in successor.phis():
                phi.incoming[block] = self.known(phi.incoming[block], out)
        block.ops = [*out, last]

    def known(self, value: Value, out: list[Op]) -> Value:
        """``value``, or the constant that it is known to be; a constant stands in the block that uses it."""
        found = self.values.get(value)
        if not isinstance(found, Const):
            return value
        self.changed = True
        constant = Const(found.value, type=found.type, span=found.span, name=value.name)
        out.append(constant)
        return constant

    def decide(self, cmp: Cmp) -> bool | None:
        if isinstance(cmp.left.type, PtrTy):
            return self.decide_packet(cmp)
        known = self.compared.get(_pair(cmp), frozenset())
        if cmp.pred in known:
            return True
        return False if INVERSE.get(cmp.pred) in known else None

    def decide_packet(self, cmp: Cmp) -> bool | None:
        found = _packet_check(cmp)
        if found is None:
            return None
        base, end, distance, pred = found
        size = self.packet.get((base, end))
        if size is None or distance > size or (distance == size and pred in (Pred.ULT, Pred.UGE)):
            return None
        return _WITHIN[pred]

    # ------------------------------------------------------------ learning

    def enter(self, pred: Block, block: Block) -> None:
        branch = pred.ops[-1]
        if isinstance(branch, Branch) and branch.then is not branch.otherwise:
            self.learn(branch.condition, branch.then is block)

    def learn(self, condition: Value, holds: bool) -> None:
        if isinstance(condition, Const):
            return
        self.learn_value(condition, const(int(holds), I1))
        match condition:
            case ops.Binary(op=BinOp.AND) if holds:
                self.learn(condition.left, True)
                self.learn(condition.right, True)
            case ops.Binary(op=BinOp.OR) if not holds:
                self.learn(condition.left, False)
                self.learn(condition.right, False)
            case ops.Binary(op=BinOp.XOR, right=Const(value=1)):
                self.learn(condition.left, not holds)
            case Cmp() if condition.pred in INVERSE:
                self.learn_relation(condition, condition.pred if holds else INVERSE[condition.pred])
            case _:
                pass

    def learn_relation(self, cmp: Cmp, pred: Pred) -> None:
        if isinstance(cmp.left.type, PtrTy):
            check = _packet_check(cmp)
            if check is not None:
                base, end, distance, written = check
                if (pred is cmp.pred) == _WITHIN[written]:  # so the pointer is not behind the end
                    self.learn_packet((base, end), distance)
            return
        pair = _pair(cmp)
        known = self.compared.get(pair)
        self.scope.compared.append((pair, known))
        self.compared[pair] = _IMPLIED[pred] | (known or frozenset())
        if pred is Pred.EQ and isinstance(cmp.right, Const) and not isinstance(cmp.left, Const):
            assert isinstance(cmp.left.type, IntTy)
            self.learn_value(cmp.left, const(cmp.right.value, cmp.left.type))

    def learn_value(self, value: Value, constant: Const) -> None:
        self.scope.values.append((value, self.values.get(value)))
        self.values[value] = constant

    def learn_packet(self, key: tuple[Value, Value], size: int) -> None:
        old = self.packet.get(key)
        if old is None or size > old:
            self.scope.packet.append((key, old))
            self.packet[key] = size


def _restore(table: dict[_K, _V], key: _K, old: _V | None) -> None:
    if old is None:
        del table[key]
    else:
        table[key] = old


def _pair(cmp: Cmp) -> _Pair:
    return cmp.left, cmp.right.value if isinstance(cmp.right, Const) else cmp.right


def _packet_check(cmp: Cmp) -> tuple[Value, Value, int, Pred] | None:
    """For a comparison of ``base + distance`` with the end of the packet: base, end, distance and the
    relation with the end on the right."""
    left, right, pred = cmp.left, cmp.right, cmp.pred
    if _space(left) is Space.PACKET_END:
        left, right, pred = right, left, MIRRORED[pred]
    if _space(left) is not Space.PACKET or _space(right) is not Space.PACKET_END or pred not in _WITHIN:
        return None
    distance = 0
    while isinstance(left, ops.PtrAdd) and isinstance(left.offset, Const):
        distance += signed(left.offset)
        left = left.base
    return left, right, distance, pred


def _space(value: Value) -> Space | None:
    return value.type.space if isinstance(value.type, PtrTy) else None
