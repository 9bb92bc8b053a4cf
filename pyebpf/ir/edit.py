"""The small changes that passes are made of: replacing values, cutting and splitting edges, dropping blocks.

Each keeps phis in step with predecessors, so that no pass touches ``Phi.incoming`` for control flow by hand.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pyebpf.ir.builder import NameSupply
from pyebpf.ir.cfg import reverse_postorder
from pyebpf.ir.ops import (
    Block,
    Branch,
    CompareBranch,
    Function,
    Jump,
    NonNull,
    Op,
    Phi,
    PtrAdd,
    Terminator,
    Value,
)
from pyebpf.ir.types import PtrTy
from pyebpf.records import replace


def substitute(function: Function, mapping: Mapping[Value, Value]) -> None:
    """Replace every use of a key of ``mapping`` by its value; chains (a to b, b to c) are followed.

    The operations that are keys stay where they are, without users."""
    if not mapping:
        return
    final: dict[Value, Value] = {}
    for key in mapping:
        value = mapping[key]
        while value in mapping:
            value = mapping[value]
        final[key] = value

    def change(value: Value) -> Value:
        return final.get(value, value)

    for block in function.blocks:
        for op in block.ops:
            op.map_operands(change)


def remove_ops(function: Function, dead: Collection[Value]) -> None:
    """Take the operations in ``dead`` (a set) out of their blocks."""
    if dead:
        for block in function.blocks:
            block.ops = [op for op in block.ops if op not in dead]


def retarget(terminator: Terminator, old: Block, new: Block) -> None:
    """Make ``terminator`` go to ``new`` wherever it went to ``old``. Phis are the caller's business."""
    match terminator:
        case Jump():
            if terminator.target is old:
                terminator.target = new
        case Branch() | CompareBranch():
            if terminator.then is old:
                terminator.then = new
            if terminator.otherwise is old:
                terminator.otherwise = new
        case _:
            pass


def forget_predecessor(block: Block, predecessor: Block) -> None:
    """The edge from ``predecessor`` to ``block`` is gone: drop the phi inputs for it."""
    for phi in block.phis():
        phi.incoming.pop(predecessor, None)


def rename_predecessor(block: Block, old: Block, new: Block) -> None:
    """Control that came to ``block`` from ``old`` now comes from ``new``. The order of the inputs is kept."""
    for phi in block.phis():
        phi.incoming = {new if b is old else b: value for b, value in phi.incoming.items()}


def make_jump(block: Block, target: Block) -> None:
    """Replace the conditional terminator of ``block`` by a jump to ``target``, one of its successors."""
    old = block.terminator
    for successor in block.successors():
        if successor is not target:
            forget_predecessor(successor, block)
    block.ops[-1] = Jump(target, span=old.span)


def split_edge(function: Function, source: Block, target: Block, names: NameSupply) -> Block:
    """Put a new block with a jump between ``source`` and ``target``; it stands behind ``source`` in the block
    list."""
    middle = Block(names.fresh(f"{source.name}.to.{target.name}"))
    middle.ops.append(Jump(target, span=source.terminator.span))
    retarget(source.terminator, target, middle)
    rename_predecessor(target, source, middle)
    function.blocks.insert(function.blocks.index(source) + 1, middle)
    return middle


def block_names(function: Function) -> NameSupply:
    """A supply of names that no block of ``function`` has."""
    return NameSupply(block.name for block in function.blocks)


def remove_unreachable_blocks(function: Function) -> bool:
    """Drop the blocks that control cannot come to, with the phi inputs from them. Returns whether there were
    any."""
    reachable = set(reverse_postorder(function))
    if len(reachable) == len(function.blocks):
        return False
    for block in function.blocks:
        if block not in reachable:
            for successor in block.successors():
                if successor in reachable:
                    forget_predecessor(successor, block)
    function.blocks = [block for block in function.blocks if block in reachable]
    return True


def place_after_phis(block: Block, op: Op) -> None:
    """Insert ``op`` behind the phis of ``block``."""
    place = next((i for i, o in enumerate(block.ops) if not isinstance(o, Phi)), len(block.ops))
    block.ops.insert(place, op)


def refine_pointers(function: Function) -> None:
    """Make the types of derived pointers agree with their bases again, after a value was replaced by one of a
    more exact type (a pointer to ``MEM`` turned out to point to the stack)."""
    for block in reverse_postorder(function):
        for op in block.ops:
            match op:
                case NonNull(type=PtrTy(), pointer=Value(type=PtrTy() as base)):
                    op.type = replace(base, nullable=False)
                case PtrAdd(type=PtrTy() as old, base=Value(type=PtrTy() as base)) if (
                    old.space is not base.space
                ):
                    op.type = replace(old, space=base.space)
                case _:
                    pass
