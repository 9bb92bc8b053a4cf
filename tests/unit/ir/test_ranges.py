"""Ranges over whole functions: what branches and loops tell, and that no run leaves them."""

from __future__ import annotations

import random

import pytest

from pyebpf.backend.pipeline import optimize
from pyebpf.ir import ops
from pyebpf.ir.cfg import Dominators, defining_blocks
from pyebpf.ir.number import Number, unknown
from pyebpf.ir.ops import Block, Function, Module, Value
from pyebpf.ir.ranges import Ranges, View
from pyebpf.ir.text import parse_module, print_module
from tests.unit.ir.interp import Machine, Runtime
from tests.unit.ir.random_ir import random_module


def function(text: str, params: str = "%x: i64, %y: i64") -> Function:
    """The function whose blocks are ``text``."""
    module = parse_module(f"func subprogram @f({params}) -> i64 {{\n{text}\n}}\n")
    return module.functions["f"]


def named(f: Function, name: str) -> Value:
    """The value with this name, or the parameter."""
    return next(v for v in (*f.params, *f.ops()) if v.name == name)


def ranges_at(f: Function, name: str, block: str, view: View = View.TRUE) -> Number | None:
    where = next(b for b in f.blocks if b.name == block)
    return Ranges(f, view).at(named(f, name), where)


def unsigned(n: Number | None) -> tuple[int, int] | None:
    return None if n is None else n.wide[:2]


CHECKED = """\
entry:
  %c = const i64 16
  %1 = cmp ult %x, %c
  branch %1, small, big
small:
  %y2 = mul i64 %x, %c
  return %y2
big:
  return %x"""


@pytest.mark.parametrize("view", View)
def test_a_branch_tells_both_sides(view: View) -> None:
    f = function(CHECKED)
    assert unsigned(ranges_at(f, "x", "entry", view)) == (0, (1 << 64) - 1)
    assert unsigned(ranges_at(f, "x", "small", view)) == (0, 15)
    assert unsigned(ranges_at(f, "x", "big", view)) == (16, (1 << 64) - 1)
    assert unsigned(ranges_at(f, "y2", "small", view)) == (0, 240)


LOOP = """\
entry:
  %zero = const i64 0
  %one = const i64 1
  %n = {bound}
  jump head
head:
  %i = phi i64 [entry: %zero, body: %next]
  %1 = cmp {pred} %i, %n
  branch %1, body, end
body:
  %twice = add i64 %i, %i
  %next = add i64 %i, %one
  jump head
end:
  return %i"""


@pytest.mark.parametrize("pred", ["ult", "slt"])
@pytest.mark.parametrize("view", View)
def test_a_counter_stays_below_a_constant(view: View, pred: str) -> None:
    f = function(LOOP.format(bound="const i64 10", pred=pred))
    assert unsigned(ranges_at(f, "i", "head", view)) == (0, 10)
    assert unsigned(ranges_at(f, "i", "body", view)) == (0, 9)
    assert unsigned(ranges_at(f, "twice", "body", view)) == (0, 18)
    assert unsigned(ranges_at(f, "i", "end", view)) == (10, 10)


def test_a_counter_stays_below_a_variable() -> None:
    f = function(LOOP.format(bound="zext.8 i64 %x", pred="ult"))
    assert unsigned(ranges_at(f, "i", "body")) == (0, 254)
    assert unsigned(ranges_at(f, "i", "end")) == (0, 255)
    # A verifier before 6.8 does not compare two unknown numbers.
    assert unsigned(ranges_at(f, "i", "body", View.VERIFIER)) == (0, (1 << 64) - 1)


def test_a_loop_with_an_unknown_signed_bound() -> None:
    f = function(LOOP.format(bound="add i64 %x, %y", pred="slt"))
    assert unsigned(ranges_at(f, "i", "body")) == (0, (1 << 63) - 2)


def test_loops_in_loops() -> None:
    f = function("""\
entry:
  %zero = const i64 0
  %one = const i64 1
  %n = const i64 8
  %m = const i64 5
  jump outer
outer:
  %i = phi i64 [entry: %zero, next: %i2]
  %1 = cmp ult %i, %n
  branch %1, start, end
start:
  jump inner
inner:
  %j = phi i64 [start: %i, body: %j2]
  %2 = cmp ult %j, %m
  branch %2, body, next
body:
  %sum = add i64 %i, %j
  %j2 = add i64 %j, %one
  jump inner
next:
  %i2 = add i64 %i, %one
  jump outer
end:
  return %i""")
    assert unsigned(ranges_at(f, "i", "next")) == (0, 7)
    assert unsigned(ranges_at(f, "j", "body")) == (0, 4)
    assert unsigned(ranges_at(f, "sum", "body")) == (0, 11)
    assert unsigned(ranges_at(f, "i", "end")) == (8, 8)


@pytest.mark.parametrize(("cast", "wanted"), [("zext.32 i64 %x", (0, 99)), ("zext.8 i64 %x", None)])
def test_a_check_of_an_extension_tells_of_its_operand(cast: str, wanted: tuple[int, int] | None) -> None:
    f = function(f"""\
entry:
  %y1 = zext.32 i64 %y
  %x1 = add i64 %y1, %y1
  %wide = {cast.replace("%x", "%y1")}
  %c = const i64 100
  %1 = cmp ult %wide, %c
  branch %1, yes, no
yes:
  return %wide
no:
  return %c""")
    assert unsigned(ranges_at(f, "wide", "yes")) == (0, 99)
    assert unsigned(ranges_at(f, "y1", "yes")) == (wanted or (0, 0xFFFF_FF7F))
    assert unsigned(ranges_at(f, "y1", "yes", View.VERIFIER)) == (0, 0xFFFF_FFFF)


def test_a_check_tells_of_extensions_and_low_halves_before() -> None:
    f = function("""\
entry:
  %byte = zext.8 i64 %x
  %cut = trunc i32 %x
  %c = const i64 7
  %d = const i32 100
  %1 = cmp ult %x, %c
  branch %1, yes, no
yes:
  return %byte
no:
  %2 = cmp ult %cut, %d
  branch %2, low, high
low:
  %whole = zext.32 i64 %x
  return %whole
high:
  return %x""")
    assert unsigned(ranges_at(f, "byte", "yes")) == (0, 6)
    assert unsigned(ranges_at(f, "byte", "yes", View.VERIFIER)) == (0, 255)
    assert unsigned(ranges_at(f, "cut", "low")) == (0, 99)
    assert unsigned(ranges_at(f, "whole", "low")) == (0, 99)


def test_a_side_that_is_never_taken() -> None:
    f = function("""\
entry:
  %b = zext.8 i64 %x
  %c = const i64 300
  %1 = cmp ult %b, %c
  branch %1, yes, no
yes:
  jump end
no:
  jump end
end:
  %2 = phi i64 [yes: %b, no: %c]
  return %2""")
    ranges = Ranges(f)
    assert ranges.at(named(f, "b"), next(b for b in f.blocks if b.name == "no")) is None
    phi = next(op for op in f.ops() if isinstance(op, ops.Phi))
    assert unsigned(ranges.of(phi)) == (0, 255)


def test_both_conditions_of_an_and() -> None:
    f = function("""\
entry:
  %c = const i64 10
  %d = const i64 20
  %1 = cmp uge %x, %c
  %2 = cmp ult %x, %d
  %3 = and i1 %1, %2
  branch %3, yes, no
yes:
  return %x
no:
  return %c""")
    for view in View:
        assert unsigned(ranges_at(f, "x", "yes", view)) == (10, 19)
        assert unsigned(ranges_at(f, "x", "no", view)) == (0, (1 << 64) - 1)


UNFOLLOWED = (
    "udiv i64 %byte, %seven",
    "urem i64 %byte, %seven",
    "or i64 %byte, %other",
    "mul i64 %byte, %other",
    "shl i64 %seven, %other",
    "bswap.16 i64 %byte",
    "sext.8 i64 %byte",
    "neg i64 %byte",
)
"""What some verifier in use knows nothing of, though something is known."""


@pytest.mark.parametrize("operation", UNFOLLOWED)
def test_the_verifier_does_not_follow_everything(operation: str) -> None:
    f = function(f"""\
entry:
  %seven = const i64 7
  %byte = zext.8 i64 %x
  %three = const i64 3
  %other = and i64 %y, %three
  %result = {operation}
  %low = zext.32 i64 %result
  return %low""")
    assert unsigned(ranges_at(f, "result", "entry", View.VERIFIER)) == (0, (1 << 64) - 1)
    # What comes of it may be a 32-bit operation, of which the upper half is zero, but not to the verifier.
    assert unsigned(ranges_at(f, "low", "entry", View.VERIFIER)) == (0, (1 << 64) - 1)
    assert ranges_at(f, "result", "entry") not in (None, unknown(64))


def test_what_is_contradicted_is_told_and_can_be_forgotten() -> None:
    """Old verifiers go the way on which a byte is 300, with a byte that is 300, and on to where the ways meet."""
    f = function("""\
entry:
  %far = const i64 300
  %near = const i64 200
  %1 = cmp eq %x, %far
  %2 = cmp ult %x, %near
  branch %2, inside, end
inside:
  %twice = add i64 %x, %x
  branch %1, odd, join
odd:
  jump join
join:
  return %twice
end:
  return %x""")
    for view in View:
        assert Ranges(f, view).contradicted == {named(f, "x")}
    twice = named(f, "twice")
    assert unsigned(Ranges(f, View.VERIFIER).of(twice)) == (0, 398)
    for forgotten in (twice, named(f, "x")):
        assert unsigned(Ranges(f, View.VERIFIER, forgotten={forgotten}).of(twice)) == (0, (1 << 64) - 1)


# ---------------------------------------------------------------- no run leaves them


class Watched(Machine):
    """Compares all that a run computes with its range: where it is computed, and again in every block that it is
    visible in."""

    def __init__(self, module: Module, packet: bytes, context: bytes, view: View) -> None:
        super().__init__(module, packet, context)
        functions = list(module.functions.values())
        self.ranges = {f.name: Ranges(f, view) for f in functions}
        self.dominators = {f.name: Dominators(f) for f in functions}
        self.homes = {
            value: (f.name, block) for f in functions for value, block in defining_blocks(f).items()
        }
        self.seen = 0

    def entered(self, function: Function, block: Block, env: dict[Value, Runtime]) -> None:
        ranges, dominators = self.ranges[function.name], self.dominators[function.name]
        for value in env:
            if dominators.dominates(self.homes[value][1], block):
                self.check(value, ranges.at(value, block), env)

    def execute(self, op: ops.Op, env: dict[Value, Runtime]) -> None:
        super().execute(op, env)
        if op in env:
            self.check(op, self.ranges[self.homes[op][0]].of(op), env)

    def check(self, value: Value, known: Number | None, env: dict[Value, Runtime]) -> None:
        found = env[value]
        if isinstance(found, int):
            self.seen += 1
            assert known is not None, f"{value.name or value} is computed, but not by what is known"
            assert known.contains(found), f"{value.name or value} is {found}, not {known}"


@pytest.mark.parametrize("view", View)
@pytest.mark.parametrize("seed", range(60))
def test_no_run_leaves_its_ranges(seed: int, view: View) -> None:
    """As the front end would make it, and at stages of the optimiser that bring loops of phis, 32 bits and branches
    that compare."""
    rng = random.Random(seed)
    packet, context = rng.randbytes(rng.choice((0, 14, 60, 100))), rng.randbytes(24)
    seen = []

    def run(name: str, module: Module) -> None:
        if name in ("ssa", "mem2reg.2", "simplify.3", "narrow", "fuse_compare"):
            machine = Watched(module, packet, context, view)
            try:
                machine.observe("main")
            except AssertionError as error:
                raise AssertionError(f"after {name}: {error}\n{print_module(module)}") from error
            seen.append(machine.seen)

    optimize(random_module(seed, 8 + seed % 25), observer=run)
    assert len(seen) == 5 and all(seen)
