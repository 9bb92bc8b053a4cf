"""Repairing SSA form: when a value gets further definitions on other ways, its uses must find the right
one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from pyebpf.ir.cfg import Dominators, iterated_frontier
from pyebpf.ir.ops import Block, Function, Phi, Undef, Value


def rejoin(function: Function, original: Value, home: Block, others: Mapping[Block, Value]) -> None:
    """Let every use of ``original`` outside its block ``home`` see the definition that reaches it:
    ``original`` itself or, past the end of a block of ``others``, the value given there. Phis are made where
    two meet, on demand.

    A use that no definition reaches on some way gets ``undef`` there; if ``original`` was used correctly
    before the other ways were made, no such way is ever taken.
    """
    dominators = Dominators(function)
    at_end: dict[Block, Value] = {home: original, **others}
    joins = set(iterated_frontier(dominators.frontiers(), at_end))
    at_start: dict[Block, Value] = {}
    unfilled: list[Phi] = []
    undefs: list[Undef] = []
    placed: dict[Phi, Block] = {}

    def start(block: Block) -> Value:
        """The value at the start of ``block``."""
        way: list[Block] = []
        current = block
        while current not in at_start:
            way.append(current)
            if current in joins:
                phi = Phi(type=original.type, span=original.span, name=original.name)
                placed[phi] = current
                unfilled.append(phi)
                at_start[current] = phi
            elif current not in dominators.idom:
                undef = Undef(type=original.type, span=original.span, name=original.name)
                undefs.append(undef)
                at_start[current] = undef
            else:
                parent = dominators.idom[current]
                if parent in at_end:
                    at_start[current] = at_end[parent]
                else:
                    current = parent
        for passed in way:
            at_start[passed] = at_start[current]
        return at_start[block]

    def end(block: Block) -> Value:
        known = at_end.get(block)
        return known if known is not None else start(block)

    for block in dominators.order:
        for op in block.ops:
            if isinstance(op, Phi):
                for pred, value in op.incoming.items():
                    if value is original and pred is not home:
                        op.incoming[pred] = end(pred)
            elif block is not home and original in op.operands():
                op.map_operands(partial(_replaced, {original: start(block)}))
    while unfilled:
        phi = unfilled.pop()
        for pred in dominators.preds[placed[phi]]:
            phi.incoming[pred] = end(pred)
    for phi, block in placed.items():
        block.ops.insert(0, phi)
    function.entry.ops[:0] = undefs


def _replaced(mapping: Mapping[Value, Value], value: Value) -> Value:
    return mapping.get(value, value)
