"""What can be computed from a function's control flow: predecessors, orders, dominators, loops, liveness.

Everything here is a plain function of the blocks as they stand. Nothing is cached or kept up to date: a pass
computes what it needs and forgets it. No recursion, so that very long functions do not exhaust Python's
stack.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyebpf.ir.ops import Block, Function, Phi, Value
from pyebpf.records import dataclass, field


def predecessors(function: Function) -> dict[Block, list[Block]]:
    """For each block the blocks that may come before it, each once, in block order."""
    found: dict[Block, list[Block]] = {block: [] for block in function.blocks}
    for block in function.blocks:
        for successor in block.successors():
            found[successor].append(block)
    return found


def reverse_postorder(function: Function) -> list[Block]:
    """The reachable blocks, each before its successors except along back edges."""
    order: list[Block] = []
    seen = {function.entry}
    # The successors are visited last first, so that a ``then`` block comes before its ``otherwise`` block.
    stack = [(function.entry, list(function.entry.successors()))]
    while stack:
        block, left = stack[-1]
        if not left:
            order.append(block)
            stack.pop()
            continue
        successor = left.pop()
        if successor not in seen:
            seen.add(successor)
            stack.append((successor, list(successor.successors())))
    order.reverse()
    return order


class Dominators:
    """The dominator tree of the reachable blocks (Cooper, Harvey, Kennedy: "A Simple, Fast Dominance
    Algorithm", 2001).

    ``order`` is reverse postorder; ``idom`` maps each block but the entry to its immediate dominator;
    ``children`` is the tree the other way round; ``preds`` are the predecessors of all blocks.
    """

    def __init__(self, function: Function) -> None:
        self.order = reverse_postorder(function)
        self.preds = predecessors(function)
        number = {block: i for i, block in enumerate(self.order)}
        entry = function.entry
        idom: list[int] = [0] + [-1] * (len(self.order) - 1)
        numbered = [[number[p] for p in self.preds[block] if p in number] for block in self.order]
        changed = True
        while changed:
            changed = False
            for i in range(1, len(self.order)):
                best = -1
                for p in numbered[i]:
                    if idom[p] < 0:
                        continue
                    if best < 0:
                        best = p
                        continue
                    other = p
                    while best != other:
                        while best > other:
                            best = idom[best]
                        while other > best:
                            other = idom[other]
                if idom[i] != best:
                    idom[i] = best
                    changed = True
        self.idom: dict[Block, Block] = {
            block: self.order[idom[i]] for i, block in enumerate(self.order) if block is not entry
        }
        self.children: dict[Block, list[Block]] = {block: [] for block in self.order}
        for block, parent in self.idom.items():
            self.children[parent].append(block)
        self._enter: dict[Block, int] = {}
        self._leave: dict[Block, int] = {}
        clock = 0
        stack = [(entry, False)]
        while stack:
            block, done = stack.pop()
            clock += 1
            if done:
                self._leave[block] = clock
                continue
            self._enter[block] = clock
            stack.append((block, True))
            stack.extend((child, False) for child in reversed(self.children[block]))

    def reachable(self, block: Block) -> bool:
        """Whether control can come to ``block``."""
        return block in self._enter

    def dominates(self, a: Block, b: Block) -> bool:
        """Whether every path from the entry to ``b`` goes through ``a`` (a block dominates itself). Both
        reachable."""
        return self._enter[a] <= self._enter[b] and self._leave[b] <= self._leave[a]

    def preorder(self) -> list[Block]:
        """The blocks so that each comes after its immediate dominator, subtrees together."""
        return sorted(self._enter, key=self._enter.__getitem__)

    def frontiers(self) -> dict[Block, list[Block]]:
        """The dominance frontier of each block: where its dominance ends, so where a definition in it may
        need a phi."""
        found: dict[Block, dict[Block, None]] = {block: {} for block in self.order}
        for block in self.order:
            preds = [p for p in self.preds[block] if p in self._enter]
            if len(preds) < 2:
                continue
            for runner in preds:
                while runner is not self.idom.get(block):
                    found[runner][block] = None
                    if runner not in self.idom:
                        break
                    runner = self.idom[runner]
        return {block: list(frontier) for block, frontier in found.items()}


def iterated_frontier(frontiers: dict[Block, list[Block]], blocks: Iterable[Block]) -> list[Block]:
    """Where phis are needed for a variable that ``blocks`` define: the dominance frontier of the definitions
    and of the phis themselves (Cytron et al., 1991)."""
    result: dict[Block, None] = {}
    work = list(blocks)
    while work:
        for block in frontiers.get(work.pop(), ()):
            if block not in result:
                result[block] = None
                work.append(block)
    return list(result)


@dataclass(eq=False, slots=True)
class Loop:
    """A natural loop: ``header`` dominates ``blocks`` (header included); ``latches`` jump back to it.
    ``depth`` counts from 1; ``parent`` is the loop around it."""

    header: Block
    blocks: set[Block]
    latches: list[Block]
    parent: Loop | None = None
    depth: int = 1

    def exits(self) -> list[tuple[Block, Block]]:
        """The edges that leave the loop."""
        return [(b, s) for b in self.blocks for s in b.successors() if s not in self.blocks]


def loops(function: Function, dominators: Dominators | None = None) -> list[Loop]:
    """The natural loops, outer ones before inner ones. Loops with the same header are one loop."""
    dom = dominators or Dominators(function)
    found: list[Loop] = []
    for header in dom.order:
        latches = [p for p in dom.preds[header] if dom.reachable(p) and dom.dominates(header, p)]
        if not latches:
            continue
        body = {header}
        work = list(latches)
        while work:
            block = work.pop()
            if block not in body:
                body.add(block)
                work.extend(p for p in dom.preds[block] if dom.reachable(p))
        found.append(Loop(header, body, latches))
    for loop in found:
        around = [o for o in found if o is not loop and loop.header in o.blocks and loop.blocks <= o.blocks]
        if around:
            loop.parent = min(around, key=lambda o: len(o.blocks))
            loop.depth = len(around) + 1
    found.sort(key=lambda loop: loop.depth)
    return found


@dataclass(eq=False, slots=True)
class Liveness:
    """Which values are needed at the borders of blocks. A phi's input is live out of the predecessor that it
    comes from, not live into the phi's block; the phi itself is not live into its block either."""

    live_in: dict[Block, set[Value]] = field(default_factory=dict)
    live_out: dict[Block, set[Value]] = field(default_factory=dict)


def liveness(function: Function) -> Liveness:
    """Live values of the reachable blocks, by backward data flow over a worklist."""
    preds = predecessors(function)
    order = reverse_postorder(function)
    upward: dict[Block, set[Value]] = {}
    defined: dict[Block, set[Value]] = {}
    result = Liveness()
    for block in order:
        up: set[Value] = set()
        down: set[Value] = set()
        for op in block.ops:
            if not isinstance(op, Phi):
                up.update(o for o in op.operands() if o not in down)
            down.add(op)
        upward[block], defined[block] = up, down
        result.live_in[block] = set(up)
        result.live_out[block] = set()
    for block in order:
        for phi in block.phis():
            for pred, value in phi.incoming.items():
                if pred in result.live_out:
                    result.live_out[pred].add(value)
    work = list(order)  # taken from the end: postorder first
    waiting = set(work)
    while work:
        block = work.pop()
        waiting.discard(block)
        out = result.live_out[block]
        for successor in block.successors():
            out |= result.live_in[successor]
        live = result.live_in[block] = upward[block] | (out - defined[block])
        for pred in preds[block]:
            if pred in result.live_out and pred not in waiting and not live <= result.live_out[pred]:
                waiting.add(pred)
                work.append(pred)
    return result


def uses(function: Function) -> dict[Value, list[Value]]:
    """For each value (parameters too) the operations that use it, once for each time that it is an
    operand."""
    found: dict[Value, list[Value]] = {param: [] for param in function.params}
    for op in function.ops():
        found.setdefault(op, [])
        for operand in op.operands():
            found.setdefault(operand, []).append(op)
    return found


def defining_blocks(function: Function) -> dict[Value, Block]:
    """The block of each operation; parameters count as defined in the entry."""
    found: dict[Value, Block] = {op: block for block in function.blocks for op in block.ops}
    found.update((param, function.entry) for param in function.params)
    return found
