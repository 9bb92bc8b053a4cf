"""The order of the blocks in the code: which block each one falls through to.

Chains are grown from the entry: a block is followed by its likely successor, loops stay together, and
blocks that handle errors come last.
"""

from __future__ import annotations

from pyebpf.backend.machine import MachineBlock, MachineFunction


def block_order(function: MachineFunction) -> list[MachineBlock]:
    """The blocks that can be reached, in the order of their code.

    A block is followed by one of its successors that has no place yet: one that is not unlikely, of these
    one in the deeper loop, of these one that leads to the other, of these the one that its last jump falls
    to. What remains starts a new chain, the latest first, so that a loop's exit comes behind the loop.
    """
    depth = loop_depths(function)
    place = _reverse_postorder(function)
    placed: dict[MachineBlock, None] = {}
    likely, unlikely = [function.blocks[0]], list[MachineBlock]()
    while likely or unlikely:
        block: MachineBlock | None = (likely or unlikely).pop()
        while block is not None and block not in placed:
            placed[block] = None
            choices = [e.target for e in reversed(block.edges) if e.target not in placed]
            follower = min(choices, key=lambda b: (b.unlikely, -depth[b], place[b]), default=None)
            for other in choices:
                if other is not follower:
                    (unlikely if other.unlikely else likely).append(other)
            block = follower
    return list(placed)


def loop_depths(function: MachineFunction) -> dict[MachineBlock, int]:
    """How many loops each block is in. A loop is what reaches a back edge without passing the edge's
    target."""
    preds: dict[MachineBlock, list[MachineBlock]] = {block: [] for block in function.blocks}
    for block in function.blocks:
        for edge in block.edges:
            preds[edge.target].append(block)
    bodies: dict[MachineBlock, set[MachineBlock]] = {}
    for latch, head in _back_edges(function):
        body = bodies.setdefault(head, {head})
        work = [latch]
        while work:
            block = work.pop()
            if block not in body:
                body.add(block)
                work.extend(preds[block])
    depth = dict.fromkeys(function.blocks, 0)
    for body in bodies.values():
        for block in body:
            depth[block] += 1
    return depth


def _reverse_postorder(function: MachineFunction) -> dict[MachineBlock, int]:
    """The number of each block in an order in which blocks precede what they lead to, except by back edges.
    Where a block leads to two that do not lead to each other, the one that its jump falls to comes
    first."""
    order: list[MachineBlock] = []
    seen = {function.blocks[0]}
    stack = [(function.blocks[0], [e.target for e in reversed(function.blocks[0].edges)])]
    while stack:
        block, left = stack[-1]
        if not left:
            order.append(block)
            stack.pop()
            continue
        successor = left.pop()
        if successor not in seen:
            seen.add(successor)
            stack.append((successor, [e.target for e in reversed(successor.edges)]))
    return {block: number for number, block in enumerate(reversed(order))}


def _back_edges(function: MachineFunction) -> list[tuple[MachineBlock, MachineBlock]]:
    """The edges that lead to a block which a depth-first walk has entered and not left."""
    found: list[tuple[MachineBlock, MachineBlock]] = []
    active: set[MachineBlock] = set()
    seen: set[MachineBlock] = set()
    stack: list[tuple[MachineBlock, bool]] = [(function.blocks[0], False)]
    while stack:
        block, done = stack.pop()
        if done:
            active.discard(block)
            continue
        if block in seen:
            continue
        seen.add(block)
        active.add(block)
        stack.append((block, True))
        for edge in block.edges:
            if edge.target in active:
                found.append((block, edge.target))
            elif edge.target not in seen:
                stack.append((edge.target, False))
    return found
