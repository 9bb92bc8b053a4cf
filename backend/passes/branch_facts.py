"""What branches teach: behind a branch its condition is known, and with it other comparisons.

::

    branch %c, yes, no                       branch %c, yes, no
    yes:  %1 = zext.1 i64 %c          →      yes:  %1 = const i64 1
    …     %2 = cmp ult %i, %16               …     %2 = cmp ult %i, %16
          branch %2, a, b                          branch %2, a, b
    a:    %3 = cmp ult %i, %32               a:    jump c
          branch %3, c, d

In the blocks that one side of a branch dominates, the condition is true (or false); an integer found equal to
a constant is that constant; comparisons of integers with constants narrow an interval, and those that the
interval decides are constants; a packet pointer that was found to have N bytes before the end of the packet
needs no check for fewer. The kernel's verifier draws the same conclusions from the same values, so the checks
that go were superfluous to it too.

Requires: ``gvn`` before, so that equal values are one value. Invalidates: nothing; decided branches are left
to ``constant_folding``.
"""

from __future__ import annotations

from typing import Final, TypeVar

from pyebpf.backend.passes.addresses import signed
from pyebpf.backend.passes.evaluate import possible_bits
from pyebpf.ir import ops
from pyebpf.ir.cfg import Dominators
from pyebpf.ir.ops import BinOp, Block, Branch, Cmp, Const, Function, Op, Pred, Value, const
from pyebpf.ir.predicates import INVERSE, MIRRORED, UNSIGNED
from pyebpf.ir.types import I1, IntTy, PtrTy, Space
from pyebpf.records import dataclass, field

_WITHIN: Final = {Pred.ULE: True, Pred.UGT: False, Pred.ULT: True, Pred.UGE: False}
"""For ``pointer relation end``: whether it holds when the pointer is not behind the end."""


_K = TypeVar("_K")
_V = TypeVar("_V")


def run(function: Function) -> bool:
    """Use what branches teach. Returns whether anything changed."""
    return _Facts(function).run()


@dataclass(slots=True)
class _Scope:
    """What was learned on entering a block, to be forgotten when its subtree is done."""

    values: list[tuple[Value, Value | None]] = field(default_factory=list)
    ranges: list[tuple[Value, tuple[int, int] | None]] = field(default_factory=list)
    packet: list[tuple[tuple[Value, Value], int | None]] = field(default_factory=list)


class _Facts:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.values: dict[Value, Value] = {}
        self.ranges: dict[Value, tuple[int, int]] = {}
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
        for value, interval in reversed(scope.ranges):
            _restore(self.ranges, value, interval)
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
        if not isinstance(cmp.right, Const) or cmp.left not in self.ranges:
            return None
        low, high = self.ranges[cmp.left]
        c = cmp.right.value
        assert isinstance(cmp.left.type, IntTy)
        sign = 1 << (cmp.left.type.bits - 1)
        pred = UNSIGNED.get(cmp.pred, cmp.pred)
        if pred is not cmp.pred and (high >= sign or c >= sign):
            return None
        match pred:
            case Pred.EQ | Pred.NE if not low <= c <= high:
                return pred is Pred.NE
            case Pred.EQ | Pred.NE if low == high:
                return pred is Pred.EQ
            case Pred.ULT | Pred.UGE if high < c or low >= c:
                return (high < c) == (pred is Pred.ULT)
            case Pred.ULE | Pred.UGT if high <= c or low > c:
                return (high <= c) == (pred is Pred.ULE)
            case _:
                return None

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
        elif isinstance(cmp.right, Const):
            self.learn_range(cmp.left, pred, cmp.right.value)

    def learn_value(self, value: Value, constant: Const) -> None:
        self.scope.values.append((value, self.values.get(value)))
        self.values[value] = constant

    def learn_range(self, value: Value, pred: Pred, c: int) -> None:
        if isinstance(value, Const):
            return
        assert isinstance(value.type, IntTy)
        low, high = self.ranges.get(value) or (0, possible_bits(value))
        sign = 1 << (value.type.bits - 1)
        if pred in UNSIGNED:
            if high >= sign or c >= sign:
                return
            pred = UNSIGNED[pred]
        match pred:
            case Pred.EQ:
                low = high = c
                self.learn_value(value, const(c, value.type))
            case Pred.NE:
                low, high = low + (c == low), high - (c == high)
            case Pred.ULT:
                high = min(high, c - 1)
            case Pred.ULE:
                high = min(high, c)
            case Pred.UGT:
                low = max(low, c + 1)
            case Pred.UGE:
                low = max(low, c)
            case _:
                return
        if low <= high:  # else this way is never taken
            self.scope.ranges.append((value, self.ranges.get(value)))
            self.ranges[value] = (low, high)

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
