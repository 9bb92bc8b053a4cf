"""Loops: ``while``, ``for`` over ranges and over constants.

All loops have one shape: a head with the test, the body, and a latch that steps and goes back to the head.
"""

from __future__ import annotations

from pyebpf.frontend import tree
from pyebpf.frontend.build_arith import compare, element_offset
from pyebpf.frontend.build_data import encode
from pyebpf.frontend.build_exits import LoopScope
from pyebpf.frontend.build_hiding import confine, forget
from pyebpf.frontend.build_iterators import driven
from pyebpf.frontend.build_known import Hidden, hidden_in
from pyebpf.frontend.build_state import Number, State
from pyebpf.frontend.loop_weight import Loop
from pyebpf.frontend.tree_nodes import nodes
from pyebpf.frontend.types import I64_MAX, I64_MIN, U64_MAX, Int
from pyebpf.ir.ops import BinOp, Block, Pred, Value
from pyebpf.layout import ArrayType, IntType

UNROLLED_NODES = 200
"""``for`` over constants is unrolled up to this many tree nodes in all copies of the body,"""
UNROLLED_VALUES = 8
"""and up to this many constants; otherwise the constants are read from a table."""


def _body(f: State, body: tree.Body, broken: Block, continued: Block, trips: int) -> None:
    """The body in its scope; ends with a jump to ``continued``."""
    f.exits.scopes.append(LoopScope(broken, continued, trips))
    f.run(body)
    f.exits.scopes.pop()
    if not f.b.terminated:
        f.b.jump(continued)


def _end(f: State, node: Loop, hidden: Hidden, ended: Block, done: Block) -> None:
    """What follows a loop: ``else`` where it was not broken."""
    f.go(ended)
    if node.orelse:
        forget(f, node, hidden.behind, node.known.ended, hidden.measured)
    f.run(node.orelse)
    f.jump_to(done)
    forget(f, node, hidden.behind, node.known.leaving, hidden.measured)


def while_(f: State, node: tree.While) -> None:
    """``while test: body; else: orelse``."""
    hidden = hidden_in(f, node)
    forget(f, node, hidden.before, node.known.before, hidden.measured)
    if node.driver is tree.LoopDriver.ITERATOR:
        _while_iterating(f, node, hidden)
        return
    head, inside, ended, done = (f.b.new_block(n) for n in ("while", "body", "ended", "done"))
    f.jump_to(head)
    f.branch(node.test, inside, ended)
    f.go(inside)
    forget(f, node, hidden.inside, node.known.entering, hidden.measured)
    _body(f, node.body, done, head, node.trips)
    _end(f, node, hidden, ended, done)


def for_range(f: State, node: tree.ForRange) -> None:
    """``for local in range(start, stop, step)``: a hidden counter runs, the variable gets its value each
    time."""
    hidden = hidden_in(f, node)
    forget(f, node, hidden.before, node.known.before, hidden.measured)
    start, stop = f.number(node.start), f.number(node.stop)
    if not isinstance(node.local.type, Int):
        raise f.bug(f"range variable of type {node.local.type}")
    if node.driver is tree.LoopDriver.ITERATOR:
        _range_iterating(f, node, hidden, start, stop)
        return
    counted = _counter_type(node, start.type, stop.type)
    head, inside, latch, ended, done = (f.b.new_block(n) for n in ("for", "body", "next", "ended", "done"))
    counter = f.b.alloca(8, 8, f"{node.local.name}.next")
    f.b.store(counter, 0, 8, start.value)
    f.jump_to(head)
    current = Number(f.b.load(counter, 0, 8, name=node.local.name), counted)
    op = tree.CompareOp.LT if node.step > 0 else tree.CompareOp.GT
    f.b.branch(compare(f, op, current, stop), inside, ended)
    f.go(inside)
    f.store_local(node.local, current.value)
    forget(f, node, hidden.inside, node.known.entering, hidden.measured)
    _body(f, node.body, done, latch, node.trips)
    f.go(latch)
    _step(f, node, current, stop, ended)
    stepped = f.b.binary(BinOp.ADD, current.value, f.b.const(node.step))
    f.b.store(counter, 0, 8, stepped)
    f.b.jump(head)
    _end(f, node, hidden, ended, done)


def _while_iterating(f: State, node: tree.While, hidden: Hidden) -> None:
    """The iterator allows for one evaluation of the test more than the body runs, so the test itself decides."""

    def begin(number: Value, ended: Block) -> None:
        inside = f.b.new_block("body")
        f.branch(node.test, inside, ended)
        f.go(inside)

    driven(f, node, hidden, f.b.const(node.trips + 1), begin)


def _range_iterating(f: State, node: tree.ForRange, hidden: Hidden, start: Number, stop: Number) -> None:
    """Counts the iterations from 0, and computes the variable from that."""
    near, far = (start, stop) if node.step > 0 else (stop, start)
    left = f.b.binary(BinOp.SUB, far.value, near.value)
    if abs(node.step) > 1:
        rounded = f.b.binary(BinOp.ADD, left, f.b.const(abs(node.step) - 1))
        left = f.b.binary(BinOp.UDIV, rounded, f.b.const(abs(node.step)))
    count = f.temporary("count", 8)
    f.b.store(count.pointer, count.offset, 8, f.b.const(0))
    some, counted = f.b.new_block("some"), f.b.new_block("counted")
    f.b.branch(compare(f, tree.CompareOp.LT, near, far), some, counted)
    f.go(some)
    f.b.store(count.pointer, count.offset, 8, left)
    f.jump_to(counted)

    def begin(number: Value, ended: Block) -> None:
        kind = node.local.type
        assert isinstance(kind, Int)
        moved = f.b.binary(BinOp.MUL, number, f.b.const(node.step)) if node.step != 1 else number
        value = f.b.binary(BinOp.ADD, start.value, moved)
        f.store_local(node.local, value)
        from_zero = start.constant == 0 and node.step == 1
        confine(f, node.local, value, (0, 0xFFFFFFFF) if from_zero else (I64_MIN, I64_MAX), kind)

    driven(f, node, hidden, f.b.load(count.pointer, count.offset, 8), begin)


def _counter_type(node: tree.ForRange, start: Int, stop: Int) -> Int:
    """What the counter is in the body and at the test: between the bounds, as it never wraps."""
    assert isinstance(node.local.type, Int)
    exact = start.exact and stop.exact
    unsigned = node.local.type.unsigned
    if node.step > 0:
        return Int(unsigned, start.lo, max(start.hi, stop.hi), seen=False, exact=exact)
    return Int(unsigned, min(start.lo, stop.lo), start.hi, seen=False, exact=exact)


def _step(f: State, node: tree.ForRange, current: Number, stop: Number, ended: Block) -> None:
    """Before the counter is stepped: leave where it would pass the end of the number range."""
    lo, hi = (0, U64_MAX) if current.type.unsigned else (I64_MIN, I64_MAX)
    if node.step in (1, -1):
        return  # it reaches ``stop`` exactly
    bound = stop.type
    if node.step > 0 and bound.exact and bound.hi + node.step - 1 <= hi:
        return
    if node.step < 0 and bound.exact and bound.lo + node.step + 1 >= lo:
        return
    near, far = (stop, current) if node.step > 0 else (current, stop)
    left = f.b.binary(BinOp.SUB, near.value, far.value)
    go_on = f.b.new_block("step")
    f.b.branch(f.b.cmp(Pred.ULE, left, f.b.const(abs(node.step))), ended, go_on)
    f.go(go_on)


def for_constants(f: State, node: tree.ForConstants) -> None:
    """``for local in (1, 2, 3)``: unrolled where that is small, else over a table."""
    size = sum(1 for _ in nodes(node.body))
    if node.driver is tree.LoopDriver.ITERATOR:
        _table_iterating(f, node)
    elif len(node.values) <= UNROLLED_VALUES and size * len(node.values) <= UNROLLED_NODES:
        _unrolled(f, node)
    else:
        _over_table(f, node)


def _unrolled(f: State, node: tree.ForConstants) -> None:
    hidden = hidden_in(f, node)
    forget(f, node, hidden.before, node.known.before, hidden.measured)
    ended, done = f.b.new_block("ended"), f.b.new_block("done")
    for value in node.values:
        following = f.b.new_block("next")
        f.store_local(node.local, f.b.const(value))
        forget(f, node, hidden.inside, node.known.entering, hidden.measured)
        _body(f, node.body, done, following, len(node.values))
        f.go(following)
    f.jump_to(ended)
    _end(f, node, hidden, ended, done)


def _read_table(f: State, node: tree.ForConstants, index: Value) -> None:
    """The constant at ``index``, which the verifier knows to be inside."""
    least, greatest = min(node.values), max(node.values)
    fitting = (IntType(bits, least < 0) for bits in (8, 16, 32, 64))
    element = next(t for t in fitting if t.lo <= least and greatest <= t.hi)
    data = b"".join(encode(value, element, f.target) for value in node.values)
    layout = ArrayType(element, len(node.values))
    table = f.data.constant_ref(data, layout, f"{node.local.name}_table", f.b)
    at = f.b.ptradd(table, element_offset(f, index, element.size), element.size)
    f.store_local(node.local, f.b.load(at, 0, element.size, signed=element.signed and element.bits < 64))


def _table_iterating(f: State, node: tree.ForConstants) -> None:
    hidden = hidden_in(f, node)
    forget(f, node, hidden.before, node.known.before, hidden.measured)
    count = f.b.const(len(node.values))

    def begin(number: Value, ended: Block) -> None:
        inside = f.b.new_block("body")
        f.b.branch(f.b.cmp(Pred.ULT, number, count), inside, ended)
        f.go(inside)
        _read_table(f, node, number)

    driven(f, node, hidden, count, begin)


def _over_table(f: State, node: tree.ForConstants) -> None:
    count = len(node.values)
    hidden = hidden_in(f, node)
    forget(f, node, hidden.before, node.known.before, hidden.measured)
    head, inside, latch, ended, done = (f.b.new_block(n) for n in ("for", "body", "next", "ended", "done"))
    counter = f.b.alloca(8, 8, f"{node.local.name}.index")
    f.b.store(counter, 0, 8, f.b.const(0))
    f.jump_to(head)
    index = f.b.load(counter, 0, 8, name="index")
    f.b.branch(f.b.cmp(Pred.ULT, index, f.b.const(count)), inside, ended)
    f.go(inside)
    _read_table(f, node, index)
    forget(f, node, hidden.inside, node.known.entering, hidden.measured)
    _body(f, node.body, done, latch, count)
    f.go(latch)
    f.b.store(counter, 0, 8, f.b.binary(BinOp.ADD, index, f.b.const(1)))
    f.b.jump(head)
    _end(f, node, hidden, ended, done)
