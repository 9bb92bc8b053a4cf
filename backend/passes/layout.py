"""The order of blocks: the likely path falls through, error handling stands at the end.

::

    entry: branch %bad, fail, go unlikely        entry: branch %bad, fail, go unlikely
    fail:  …                               →     go:    …
    go:    …                                     fail:  …

Reverse postorder keeps loops together and puts each block after what leads to it. A block is cold if every
way to it goes through the ``then`` side of an unlikely branch; cold blocks follow all others, in the same
order.

Requires: the last pass. Invalidates: only the order of ``Function.blocks`` changes.
"""

from __future__ import annotations

from pyebpf.ir.cfg import predecessors, reverse_postorder
from pyebpf.ir.ops import Block, Branch, CompareBranch, Function


def run(function: Function) -> bool:
    """Order the blocks; unreachable ones go. Returns whether the order changed."""
    order = reverse_postorder(function)
    preds = predecessors(function)
    cold: set[Block] = set()
    seen: set[Block] = {function.entry}
    for block in order[1:]:
        # Back edges come from blocks that are not classified yet; they cannot warm a loop that is entered
        # cold.
        forward = [p for p in preds[block] if p in seen]
        if all(p in cold or _unlikely(p, block) for p in forward):
            cold.add(block)
        seen.add(block)
    new = [b for b in order if b not in cold] + [b for b in order if b in cold]
    changed = new != function.blocks
    function.blocks = new
    return changed


def _unlikely(source: Block, target: Block) -> bool:
    """Whether the edge is the cold side of a branch."""
    match source.terminator:
        case Branch() | CompareBranch() as branch:
            return branch.unlikely and branch.then is target and branch.otherwise is not target
        case _:
            return False
