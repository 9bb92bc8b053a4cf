"""Orders, dominators, loops and liveness against their definitions, on random graphs."""

from __future__ import annotations

import random

import pytest

from pyebpf.diagnostics import Span
from pyebpf.ir import cfg, ops
from pyebpf.ir.ops import Block, Function, FunctionRole, Param, Value
from pyebpf.ir.text import parse_module
from pyebpf.ir.types import I1, I64


def random_graph(seed: int, values: bool = False) -> Function:
    """A function of random jumps and branches, blocks perhaps unreachable; with ``values`` also random
    operations."""
    rng = random.Random(seed)
    condition = Param(0, type=I1)
    function = Function("f", [condition], I64, [], FunctionRole.SUBPROGRAM, Span("x", 1, 1, 1, 1))
    function.blocks = [Block(f"b{i}") for i in range(rng.randrange(1, 12))]
    targets = function.blocks[1:]
    made: list[Value] = []
    for block in function.blocks:
        if values:
            for _ in range(rng.randrange(3)):
                operand = rng.choice(made) if made and rng.random() < 0.8 else ops.const(1)
                if isinstance(operand, ops.Const):
                    block.ops.append(operand)
                made.append(ops.Neg(operand, type=I64))
                block.ops.append(made[-1])  # type: ignore[arg-type]  # a Neg
        kind = rng.randrange(4) if targets else 0
        if kind == 0:
            block.ops.append(ops.Return(made[-1] if made else None))
        elif kind == 1:
            block.ops.append(ops.Jump(rng.choice(targets)))
        else:
            block.ops.append(ops.Branch(condition, rng.choice(targets), rng.choice(targets)))
    return function


def reachable(function: Function, without: Block | None = None) -> set[Block]:
    """What can be reached from the entry, by search; not through ``without``."""
    seen: set[Block] = set()
    work = [function.entry]
    while work:
        block = work.pop()
        if block is not without and block not in seen:
            seen.add(block)
            work.extend(block.successors())
    return seen


@pytest.mark.parametrize("seed", range(200))
def test_dominators(seed: int) -> None:
    function = random_graph(seed)
    dom = cfg.Dominators(function)
    everything = reachable(function)
    assert set(dom.order) == everything
    for a in everything:
        behind = everything - reachable(function, without=a)
        assert {b for b in everything if dom.dominates(a, b)} == behind
    for block, parent in dom.idom.items():
        strict = [a for a in everything if a is not block and dom.dominates(a, block)]
        assert parent in strict and all(dom.dominates(a, parent) for a in strict)
    frontiers = dom.frontiers()
    for a in everything:
        wanted = {
            b
            for b in everything
            if any(dom.reachable(p) and dom.dominates(a, p) for p in dom.preds[b])
            and not (a is not b and dom.dominates(a, b))
        }
        assert set(frontiers[a]) == wanted
    position = {block: i for i, block in enumerate(dom.preorder())}
    assert all(position[parent] < position[block] for block, parent in dom.idom.items())


@pytest.mark.parametrize("seed", range(200))
def test_loops(seed: int) -> None:
    function = random_graph(seed)
    dom = cfg.Dominators(function)
    found = cfg.loops(function, dom)
    latches = {(p, b) for b in dom.order for p in dom.preds[b] if dom.reachable(p) and dom.dominates(b, p)}
    assert {(latch, loop.header) for loop in found for latch in loop.latches} == latches
    for loop in found:
        assert all(dom.dominates(loop.header, block) for block in loop.blocks)
        assert all(source in loop.blocks and target not in loop.blocks for source, target in loop.exits())
        assert loop.depth == 1 + (loop.parent.depth if loop.parent else 0)


@pytest.mark.parametrize("seed", range(200))
def test_liveness(seed: int) -> None:
    function = random_graph(seed, values=True)
    live = cfg.liveness(function)
    for value in [op for op in function.ops() if op.type == I64]:
        # A value is live into a block if a use can be reached from its start without passing the definition.
        for block in live.live_in:
            seen: set[Block] = set()
            work, wanted = [block], False
            while work and not wanted:
                here = work.pop()
                if here in seen:
                    continue
                seen.add(here)
                for op in here.ops:
                    wanted = wanted or value in op.operands()
                    if wanted or op is value:
                        break
                else:
                    work.extend(here.successors())
            assert (value in live.live_in[block]) == wanted


def test_phis_are_live_at_the_edge() -> None:
    module = parse_module(
        "func subprogram @f(%x: i64) -> i64 {\nentry:\n  %1 = add i64 %x, %x\n  jump a\n"
        "a:\n  %2 = phi i64 [entry: %1, a: %3]\n  %3 = add i64 %2, %x\n  %4 = cmp eq %3, %x\n  branch %4, a, b\n"
        "b:\n  return %2\n}\n"
    )
    function = module.functions["f"]
    entry, a, b = function.blocks
    live = cfg.liveness(function)
    one, two, three = entry.ops[0], a.ops[0], a.ops[1]
    assert live.live_out[entry] == {one, function.params[0]}
    assert live.live_in[a] == {function.params[0]}
    assert live.live_out[a] == {two, three, function.params[0]}
    assert live.live_in[b] == {two}


def test_uses_count_each_operand() -> None:
    module = parse_module(
        "func subprogram @f(%x: i64) -> i64 {\nentry:\n  %1 = add i64 %x, %x\n  return %1\n}\n"
    )
    function = module.functions["f"]
    add, leave = function.entry.ops
    assert cfg.uses(function) == {function.params[0]: [add, add], add: [leave], leave: []}
    assert cfg.defining_blocks(function)[add] is function.entry
