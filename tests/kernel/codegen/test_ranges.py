"""Where ``View.VERIFIER`` says that a number is bounded, the kernel's verifier takes it as an offset with these bounds.

Random functions of what bounds numbers: masks, shifts, sums, checks, loops, joins. At the end of every block, accesses
with each bounded number touch the first and the last byte of a variable if the number is at its bounds: were the
verifier's bounds wider, it would refuse them.
"""

from __future__ import annotations

import random

import pytest

from pyebpf.backend.passes import range_checks
from pyebpf.backend.pipeline import optimize
from pyebpf.ir.builder import Builder
from pyebpf.ir.cfg import Dominators, defining_blocks
from pyebpf.ir.ops import BinOp, Block, Cmp, Const, Function, Module, Pred, Value
from pyebpf.ir.ranges import Ranges, View
from pyebpf.ir.types import I64
from pyebpf.object import DataSection, Variable
from pyebpf.target import Isa, Target
from tests.kernel.codegen.harness import loaded, packet_module

INPUTS = 32
AREA = 4096
CONSTANTS = (0, 1, 3, 4, 7, 8, 15, 16, 100, 255, 1000, (1 << 64) - 1, (1 << 64) - 5, (1 << 64) - 64)
SHIFTS = (BinOp.SHL, BinOp.LSHR, BinOp.ASHR)
OTHERS = (BinOp.AND, BinOp.ADD, BinOp.SUB, BinOp.OR, BinOp.XOR, BinOp.MUL)


class Bounding:
    """Fills a function with numbers that the verifier follows."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.pool: list[Value] = []

    def body(self, builder: Builder, packet: Value) -> None:
        self.b = builder
        for offset in range(0, INPUTS, 8):
            self.pool.append(builder.load(packet, offset, self.random.choice((1, 2, 4, 8))))
        self.statements(self.random.randint(6, 16), 3)

    def statements(self, count: int, depth: int) -> None:
        for _ in range(count):
            roll = self.random.random()
            if roll < 0.35 and depth:
                self.check(depth - 1)
            elif roll < 0.42 and depth:
                self.loop(depth - 1)
            else:
                self.pool.append(self.operation())

    def constant(self) -> Value:
        return self.b.const(self.random.choice(CONSTANTS))

    def value(self) -> Value:
        return self.random.choice(self.pool[-6:] if self.random.random() < 0.7 else self.pool)

    def operation(self) -> Value:
        roll = self.random.random()
        if roll < 0.2:
            return self.b.zext(self.random.choice((8, 16, 32)), self.value())
        if roll < 0.45:
            shift = self.b.const(self.random.choice((1, 2, 3, 4, 8, 16, 32, 56, 60)))
            return self.b.binary(self.random.choice(SHIFTS), self.value(), shift)
        op = self.random.choice(OTHERS)
        return self.b.binary(
            op, self.value(), self.constant() if self.random.random() < 0.7 else self.value()
        )

    def check(self, depth: int) -> None:
        """A branch on one or two comparisons, what is done behind it, and a number that is joined."""
        preds = [pred for pred in Pred if pred is not Pred.TEST]
        condition: Value = self.b.cmp(self.random.choice(preds), self.value(), self.constant())
        if self.random.random() < 0.3:
            other = self.b.cmp(self.random.choice(preds), self.value(), self.constant())
            condition = self.b.binary(self.random.choice((BinOp.AND, BinOp.OR)), condition, other)
        before, outside = self.b.block, self.value()
        inside, after = self.b.new_block("inside"), self.b.new_block("after")
        ways = (inside, after) if self.random.random() < 0.5 else (after, inside)
        self.b.branch(condition, *ways)
        visible = len(self.pool)
        self.b.block = inside
        self.statements(self.random.randint(1, 6), depth)
        joined = self.value()
        inside = self.b.block
        self.b.jump(after)
        del self.pool[visible:]
        self.b.block = after
        phi = self.b.phi(I64)
        phi.incoming = {before: outside, inside: joined}
        self.pool.append(phi)

    def loop(self, depth: int) -> None:
        before, zero, step = self.b.block, self.b.const(0), self.b.const(self.random.choice((1, 1, 2, 3)))
        end = self.b.const(self.random.randint(1, 9))
        head, inside, after = (self.b.new_block(name) for name in ("head", "body", "done"))
        self.b.jump(head)
        self.b.block = head
        counter = self.b.phi(I64)
        self.b.branch(self.b.cmp(self.random.choice((Pred.ULT, Pred.SLT)), counter, end), inside, after)
        visible = len(self.pool)
        self.b.block = inside
        self.pool.append(counter)
        self.statements(self.random.randint(1, 4), depth)
        more = self.b.binary(BinOp.ADD, counter, step)
        counter.incoming = {before: zero, self.b.block: more}
        self.b.jump(head)
        del self.pool[visible:]
        self.b.block = after
        self.pool.append(counter)


def with_accesses(seed: int, *, guarded: bool = False) -> tuple[Module, int]:
    """A module, and how many bounds are put to the test in it. ``guarded``: each behind a check that is superfluous."""
    module = packet_module(Bounding(seed).body, INPUTS)
    module.data[".bss"] = DataSection(".bss", bytearray(AREA), [Variable("area", 0, AREA)])
    function = module.functions["main"]
    ranges, dominators = Ranges(function, View.VERIFIER), Dominators(function)
    homes = {
        v: home for v, home in defining_blocks(function).items() if v.type == I64 and not isinstance(v, Const)
    }
    bounds = [
        (block, value, known.wide[2], known.wide[3])
        for block in dominators.order
        for value, home in homes.items()
        if dominators.dominates(home, block) and (known := ranges.at(value, block)) is not None
    ]
    rng = random.Random(seed)
    tested = [
        bound for bound in bounds if bound[2] > -AREA and bound[3] < AREA and bound[3] - bound[2] < AREA
    ]
    for block, value, least, greatest in rng.sample(tested, min(len(tested), 40)):
        add_accesses(Builder(function), block, value, least, greatest, guarded)
    return module, len(tested)


def add_accesses(b: Builder, block: Block, value: Value, least: int, greatest: int, guarded: bool) -> None:
    """At the end of ``block``, the first and the last byte with ``value`` at its bounds."""
    last = block.ops.pop()
    b.block = block
    if least < 0 or guarded:  # no offset may be negative, whatever is added to it
        value, least, greatest = b.binary(BinOp.ADD, value, b.const(-least)), 0, greatest - least
    after = block
    if guarded:
        inside, after = b.new_block("guarded"), b.new_block("behind")
        b.branch(b.cmp(Pred.ULE, value, b.const(greatest)), inside, after)
        b.block = inside
    where = b.ptradd(b.global_ref(".bss", "area", AREA), value)
    b.store(where, -least, 1, b.const(1))
    b.store(where, AREA - 1 - greatest, 1, b.const(1))
    if guarded:
        b.jump(after)
    after.ops.append(last)
    for phi in [phi for successor in after.successors() for phi in successor.phis()]:
        phi.incoming = {after if pred is block else pred: v for pred, v in phi.incoming.items()}


SEEDS = range(50)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_verifier_knows_the_same_bounds(seed: int) -> None:
    module, _ = with_accesses(seed)
    with loaded(module, Isa(1 + seed % 3), check=False):
        pass


@pytest.mark.parametrize("seed", SEEDS)
def test_it_still_does_after_optimisation(seed: int) -> None:
    """No pass loses what a removed check relied on."""
    module, _ = with_accesses(seed)
    level = Isa(1 + seed % 3)
    optimize(module, target=Target(isa=level), check=True)
    with loaded(module, level, check=False):
        pass


@pytest.mark.parametrize("seed", SEEDS)
def test_no_check_is_missed(seed: int) -> None:
    """The pass removes nearly all the checks; the accesses behind them stay allowed."""
    module, _ = with_accesses(seed, guarded=True)
    level = Isa(1 + seed % 3)
    optimize(module, target=Target(isa=level), check=True)
    with loaded(module, level, check=False):
        pass


def test_enough_is_put_to_the_test() -> None:
    assert sum(with_accesses(seed)[1] for seed in SEEDS) > 2000


def test_checks_are_found_superfluous() -> None:
    """Else the tests above say nothing of the pass."""
    before = after = 0
    for seed in SEEDS:
        function = with_accesses(seed, guarded=True)[0].functions["main"]
        before += comparisons(function)
        range_checks.run(function)
        after += comparisons(function)
    assert after < before * 0.6


def comparisons(function: Function) -> int:
    return sum(isinstance(op, Cmp) for op in function.ops())
