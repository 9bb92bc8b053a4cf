"""The control flow of one BPF function: basic blocks, their order, dominators and natural loops.

Blocks are numbered in reverse postorder, so an edge to a lower or the same number goes backward. A function whose
backward edges all lead to dominators of their source is *reducible*: it has loops and branches only.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyebpf.backend.insn import EXIT, GOTO, GOTOL, Insn
from pyebpf.records import dataclass, field
from pyebpf.runtime.vm.errors import BadCode, Where

Placed = tuple[int, Insn]
"""An instruction and its slot in the linked code."""


@dataclass(slots=True)
class Block:
    """``body``: what runs in order; ``last``: the jump or exit at the end, if there is one. ``successors`` of a
    conditional jump: the target, then the next block."""

    body: list[Placed]
    last: Placed | None
    successors: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many instructions."""
        return len(self.body) + (self.last is not None)

    @property
    def ends(self) -> bool:
        """Whether the function ends here."""
        return not self.successors


@dataclass(slots=True)
class Flow:
    """``blocks[0]`` is the entry. ``idom``: the immediate dominator of each block; ``loops``: the blocks of each loop by
    its header; ``nest``: the headers of the loops that a block is in, outermost first."""

    blocks: list[Block]
    predecessors: list[list[int]]
    idom: list[int]
    loops: dict[int, set[int]] = field(default_factory=dict)
    nest: list[tuple[int, ...]] = field(default_factory=list)
    reducible: bool = True

    def dominates(self, upper: int, lower: int) -> bool:
        """Whether every way to ``lower`` goes through ``upper``."""
        while lower > upper:
            lower = self.idom[lower]
        return lower == upper


def flow_of(insns: Sequence[Placed], name: str) -> Flow:
    """The control flow of the function ``name``, whose code is ``insns``, from its entry on. Raises ``BadCode`` for jumps
    out of the function or into an instruction and for an end without exit."""
    blocks = _ordered(_split(insns, name))
    predecessors: list[list[int]] = [[] for _ in blocks]
    for number, block in enumerate(blocks):
        for successor in block.successors:
            predecessors[successor].append(number)
    flow = Flow(blocks, predecessors, _dominators(predecessors))
    _find_loops(flow)
    return flow


def _split(insns: Sequence[Placed], name: str) -> dict[int, Block]:
    """The blocks by the slot of their first instruction; successors are slots."""
    first, places = insns[0][0], {slot: index for index, (slot, _) in enumerate(insns)}

    def target(slot: int, to: int) -> int:
        if to not in places:
            raise BadCode("the code goes on where there is no instruction", Where(name, slot - first))
        return to

    starts = {first}
    for slot, insn in insns:
        if insn.is_jump:
            starts |= {target(slot, slot + 1 + insn.jump_distance), slot + 1}
        elif insn.opcode == EXIT:
            starts.add(slot + 1)
    blocks: dict[int, Block] = {}
    for start in sorted(starts & places.keys()):
        body: list[Placed] = []
        for slot, insn in insns[places[start] :]:
            following = slot + insn.slots
            if insn.opcode == EXIT:
                blocks[start] = Block(body, (slot, insn), ())
            elif insn.is_jump:
                jumps = slot + 1 + insn.jump_distance
                only = insn.opcode in (GOTO, GOTOL) or jumps == following
                successors = (jumps,) if only else (jumps, target(slot, following))
                blocks[start] = Block(body, (slot, insn), successors)
            else:
                body.append((slot, insn))
                if following not in starts and following in places:
                    continue
                blocks[start] = Block(body, None, (target(slot, following),))
            break
    return blocks


def _ordered(blocks: dict[int, Block]) -> list[Block]:
    """The blocks that are reached, in reverse postorder, their successors renumbered to match."""
    entry = min(blocks)
    postorder: list[int] = []
    seen = {entry}
    # The next block is visited last, so that it comes first in the reverse.
    stack = [(entry, iter(blocks[entry].successors))]
    while stack:
        start, successors = stack[-1]
        for successor in successors:
            if successor not in seen:
                seen.add(successor)
                stack.append((successor, iter(blocks[successor].successors)))
                break
        else:
            postorder.append(start)
            stack.pop()
    numbers = {start: number for number, start in enumerate(reversed(postorder))}
    return [
        Block(blocks[start].body, blocks[start].last, tuple(numbers[s] for s in blocks[start].successors))
        for start in numbers
    ]


def _dominators(predecessors: list[list[int]]) -> list[int]:
    """Cooper, Harvey and Kennedy, "A simple, fast dominance algorithm" (2001)."""
    unknown = -1
    idom = [unknown] * len(predecessors)
    idom[0] = 0
    changed = True
    while changed:
        changed = False
        for number in range(1, len(predecessors)):
            found = unknown
            for other in predecessors[number]:
                if idom[other] == unknown:
                    continue
                if found == unknown:
                    found = other
                    continue
                a, b = found, other
                while a != b:
                    if a > b:
                        a = idom[a]
                    else:
                        b = idom[b]
                found = a
            if found != idom[number]:
                idom[number] = found
                changed = True
    return idom


def _find_loops(flow: Flow) -> None:
    for number, block in enumerate(flow.blocks):
        for header in block.successors:
            if header > number:
                continue
            if not flow.dominates(header, number):
                flow.reducible = False
                return
            inside = flow.loops.setdefault(header, {header})
            waiting = [number]
            while waiting:
                member = waiting.pop()
                if member not in inside:
                    inside.add(member)
                    waiting += flow.predecessors[member]
    headers = sorted(flow.loops)
    flow.nest = [
        tuple(header for header in headers if number in flow.loops[header])
        for number in range(len(flow.blocks))
    ]
