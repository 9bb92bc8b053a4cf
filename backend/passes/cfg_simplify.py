"""Control flow without detours: constant branches, chains of blocks, empty blocks, returns.

::

    entry:                                   entry:
      branch %c, a, b                          branch %c, a, b
    a:                                       a:
      jump end                                 %3 = const i64 1
    b:                                         return %3
      jump end                        →      b:
    end:                                       %4 = const i64 2
      %1 = phi i64 [a: %x, b: %y]              return %4
      return %1

(there with ``%x = const 1`` and ``%y = const 2``). A branch on a constant, or to one block both ways, is a
jump; a block merges into its only predecessor if that has no other successor; a block that only jumps is
passed by; a block that only returns is copied into predecessors that jump to it, where returning takes no
more instructions than jumping; blocks that return the same thing are one block.

Requires: nothing. Invalidates: blocks and edges may go.
"""

from __future__ import annotations

from pyebpf.ir import ops
from pyebpf.ir.cfg import predecessors
from pyebpf.ir.edit import (
    block_names,
    make_jump,
    remove_unreachable_blocks,
    rename_predecessor,
    retarget,
    split_edge,
    substitute,
)
from pyebpf.ir.ops import Block, Branch, Const, Function, Jump, Op, Phi, Return, Value


def run(function: Function) -> bool:
    """Simplify until nothing changes. Returns whether anything did."""
    changed = False
    while True:
        again = _constant_branches(function)
        again |= remove_unreachable_blocks(function)
        again |= _merge_chains(function)
        again |= _pass_by_empty(function)
        again |= _return_early(function)
        again |= _share_returns(function)
        if not again:
            return changed
        changed = True


def _constant_branches(function: Function) -> bool:
    changed = False
    for block in function.blocks:
        match block.terminator:
            case Branch(condition=Const(value=value)) as branch:
                make_jump(block, branch.then if value else branch.otherwise)
                changed = True
            case Branch() | ops.CompareBranch() as branch if branch.then is branch.otherwise:
                make_jump(block, branch.then)
                changed = True
            case _:
                pass
    return changed


def _merge_chains(function: Function) -> bool:
    """Append each block to its predecessor where the two are always run together."""
    preds = predecessors(function)
    mapping: dict[Value, Value] = {}
    merged: set[Block] = set()
    for block in function.blocks:
        if block in merged:
            continue
        while isinstance(block.terminator, Jump):
            target = block.terminator.target
            if len(preds[target]) != 1 or target is block:
                break
            for phi in target.phis():
                (mapping[phi],) = phi.incoming.values()
            block.ops = block.ops[:-1] + [op for op in target.ops if not isinstance(op, Phi)]
            for successor in block.successors():
                rename_predecessor(successor, target, block)
                preds[successor] = [block if p is target else p for p in preds[successor]]
            merged.add(target)
    if not merged:
        return False
    function.blocks = [b for b in function.blocks if b not in merged]
    substitute(function, mapping)
    return True


def _pass_by_empty(function: Function) -> bool:
    preds = predecessors(function)
    changed = False
    for block in function.blocks[1:]:
        terminator = block.ops[0]
        if not isinstance(terminator, Jump) or terminator.target is block:
            continue
        target = terminator.target
        for pred in preds[block]:
            # Coming from ``pred`` on two ways, a phi of the target could not tell them apart.
            both = pred in preds[target]
            if both and any(phi.incoming[pred] is not phi.incoming[block] for phi in target.phis()):
                continue
            for phi in target.phis():
                phi.incoming[pred] = phi.incoming[block]
            retarget(pred.terminator, block, target)
            if not both:
                preds[target].append(pred)
            changed = True
        preds[block] = [p for p in preds[block] if block in p.successors()]
        if not preds[block]:
            for phi in target.phis():
                del phi.incoming[block]
            preds[target].remove(block)
            block.ops = [ops.Unreachable(span=terminator.span)]
    if changed:
        remove_unreachable_blocks(function)
    return changed


# ---------------------------------------------------------------- returns


def _bare_return(block: Block) -> bool:
    """Whether the block does nothing but return."""
    match block.ops:
        case [Return()]:
            return True
        case [Const() as constant, Return(value=value)]:
            return value is constant
        case _:
            return False


def _return_early(function: Function) -> bool:
    """Where a block only returns a phi (or nothing), let predecessors return their input themselves: a jump
    is an instruction as well. Constants that come over a conditional jump get a block, which others may
    share."""
    preds = predecessors(function)
    names = block_names(function)
    changed = False
    for block in list(function.blocks[1:]):
        phis = block.phis()
        last = block.ops[-1]
        if len(phis) + 1 != len(block.ops) or not isinstance(last, Return):
            continue
        if last.value is not None and last.value not in phis:
            continue
        for pred in preds[block]:
            value = last.value.incoming[pred] if isinstance(last.value, Phi) else None
            source = pred
            if not isinstance(pred.terminator, Jump):
                if not isinstance(value, Const):
                    continue
                source = split_edge(function, pred, block, names)
            tail: list[Op] = []
            if isinstance(value, Const):
                value = Const(value.value, type=value.type, span=value.span, name=value.name)
                tail.append(value)
            source.ops[-1:] = [*tail, Return(value, span=last.span)]
            for phi in phis:
                del phi.incoming[source]
            changed = True
    if changed:
        remove_unreachable_blocks(function)
    return changed


def _share_returns(function: Function) -> bool:
    """One block for all returns of a constant, and for all blocks that only return the same value."""
    groups: dict[object, list[Block]] = {}
    for block in function.blocks:
        last = block.ops[-1]
        if not isinstance(last, Return):
            continue
        if isinstance(last.value, Const):
            groups.setdefault((last.value.value, last.value.type), []).append(block)
        elif _bare_return(block):
            groups.setdefault(last.value, []).append(block)
    groups = {key: blocks for key, blocks in groups.items() if len(blocks) > 1}
    if not groups:
        return False
    preds = predecessors(function)
    names = block_names(function)
    for blocks in groups.values():
        shared = next((b for b in blocks if _bare_return(b) and b is not function.entry), None)
        if shared is None:
            shared = Block(names.fresh("return"), [blocks[0].ops[-1]])
            function.blocks.append(shared)
        last = shared.terminator
        if isinstance(last, Return) and isinstance(last.value, Const):
            value = Const(last.value.value, type=last.value.type, span=last.value.span, name=last.value.name)
            shared.ops = [value, Return(value, span=last.span)]
        for block in blocks:
            if block is shared:
                continue
            if _bare_return(block) and block is not function.entry:
                for pred in preds[block]:
                    retarget(pred.terminator, block, shared)
            else:
                block.ops[-1] = Jump(shared, span=block.ops[-1].span)
    remove_unreachable_blocks(function)
    return True
