"""Small improvements after register allocation, on blocks as they stand.

Each rule is a function that tells whether it changed something; they run until none does. All of them make
the code smaller or leave its size alone. None moves a memory access or a call to another path: the verifier
refuses one instruction that accesses different kinds of memory depending on where control came from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

from pyebpf.backend import insn as isa
from pyebpf.backend.insn import Alu, Class, Source
from pyebpf.backend.machine import Edge, MachineBlock, MachineFunction, MachineInsn, PReg, Role

_MOVES: Final = frozenset(isa.alu(Alu.MOV, source, wide=wide) for source in Source for wide in (False, True))


def peephole(function: MachineFunction) -> None:
    """Improve an allocated function in place; unreachable blocks go away."""
    rules: Sequence[Callable[[MachineFunction], bool]] = (
        _thread_empty_blocks,
        _drop_needless_tests,
        _join_straight_lines,
        _remove_dead,
        _hoist_from_diamond,
        _repeat_loop_test,
        _merge_equal_blocks,
        _share_ends,
    )
    changed = True
    while changed:
        changed = False
        for rule in rules:
            _remove_unreachable(function)
            changed |= rule(function)


# ---------------------------------------------------------------- reading instructions


def _register(reg: object) -> int:
    assert isinstance(reg, PReg), "peephole before register allocation"
    return reg.number


def _reads(insn: MachineInsn) -> set[int]:
    return {_register(o.reg) for o in insn.operands if o.role is Role.USE}


def _writes(insn: MachineInsn) -> set[int]:
    return {_register(o.reg) for o in insn.operands if o.role is Role.DEF} | insn.clobbers


def _pure(insn: MachineInsn) -> bool:
    """Whether all that it does is to change its destination."""
    return insn.opcode & 7 in (Class.ALU, Class.ALU64) or insn.opcode == isa.LD_IMM64


def _key(insn: MachineInsn) -> tuple[object, ...]:
    """What makes two instructions the same code."""
    fields = [None if i is None else _register(insn.operands[i].reg) for i in (insn.dst, insn.src)]
    place = (id(insn.frame), insn.frame_is_dst)
    return (insn.opcode, *fields, insn.src_field, insn.offset, insn.imm, place, insn.symbol)


def _movable(insn: MachineInsn) -> bool:
    """Whether it may be shared by paths, whatever the registers hold there."""
    return insn.opcode in _MOVES or insn.opcode in (isa.EXIT, isa.LD_IMM64)


def _predecessors(function: MachineFunction) -> dict[MachineBlock, list[MachineBlock]]:
    found: dict[MachineBlock, list[MachineBlock]] = {block: [] for block in function.blocks}
    for block in function.blocks:
        for edge in block.edges:
            found[edge.target].append(block)
    return found


def _live_in(function: MachineFunction) -> dict[MachineBlock, set[int]]:
    """The registers that each block reads before it writes them, or passes on."""
    live: dict[MachineBlock, set[int]] = {block: set() for block in function.blocks}
    changed = True
    while changed:
        changed = False
        for block in reversed(function.blocks):
            now = _live_out(block, live)
            for insn in reversed(block.insns):
                now = (now - _writes(insn)) | _reads(insn)
            if now != live[block]:
                live[block] = now
                changed = True
    return live


def _live_out(block: MachineBlock, live: dict[MachineBlock, set[int]]) -> set[int]:
    return set().union(*(live[e.target] for e in block.edges))


def _retarget(function: MachineFunction, change: dict[MachineBlock, MachineBlock]) -> None:
    for block in function.blocks:
        block.edges = tuple(Edge(change.get(e.target, e.target)) for e in block.edges)


# ---------------------------------------------------------------- rules


def _remove_unreachable(function: MachineFunction) -> None:
    seen: dict[MachineBlock, None] = {}
    work = [function.blocks[0]]
    while work:
        block = work.pop()
        if block not in seen:
            seen[block] = None
            work.extend(edge.target for edge in block.edges)
    function.blocks[:] = [block for block in function.blocks if block in seen]


def _thread_empty_blocks(function: MachineFunction) -> bool:
    """Jump past blocks that only jump on."""
    change: dict[MachineBlock, MachineBlock] = {}
    for block in function.blocks:
        end, seen = block, {block}
        while not end.insns and len(end.edges) == 1 and end.edges[0].target not in seen:
            end = end.edges[0].target
            seen.add(end)
        if end is not block and block is not function.blocks[0]:
            change[block] = end
    _retarget(function, change)
    return bool(change)


def _drop_needless_tests(function: MachineFunction) -> bool:
    """``if c goto A`` in front of A."""
    changed = False
    for block in function.blocks:
        if len(block.edges) == 2 and block.edges[0].target is block.edges[1].target:
            block.insns.pop()
            block.edges = block.edges[:1]
            changed = True
    return changed


def _join_straight_lines(function: MachineFunction) -> bool:
    """A block that only one block goes to, and always, becomes a part of that."""
    preds = _predecessors(function)
    for block in function.blocks:
        while len(block.edges) == 1:
            follower = block.edges[0].target
            if len(preds[follower]) != 1 or follower in (block, function.blocks[0]):
                break
            block.insns += follower.insns
            block.edges, follower.edges, follower.insns = follower.edges, (), []
            for edge in block.edges:
                preds[edge.target] = [block if p is follower else p for p in preds[edge.target]]
    before = len(function.blocks)
    _remove_unreachable(function)
    return len(function.blocks) < before


def _remove_dead(function: MachineFunction) -> bool:
    """Computations whose result nobody reads, and copies of a register to itself."""
    live = _live_in(function)
    changed = False
    for block in function.blocks:
        now = _live_out(block, live)
        kept: list[MachineInsn] = []
        for insn in reversed(block.insns):
            dead = _pure(insn) and not _writes(insn) & now
            idle = insn.move and _register(insn.operands[0].reg) == _register(insn.operands[1].reg)
            if dead or idle:
                changed = True
                continue
            kept.append(insn)
            now = (now - _writes(insn)) | _reads(insn)
        block.insns[:] = reversed(kept)
    return changed


def _hoist_from_diamond(function: MachineFunction) -> bool:
    """``if c goto T; r = 0; goto J; T: r = 1; J:`` becomes ``r = 1; if c goto J; r = 0; J:``."""
    preds = _predecessors(function)
    live = _live_in(function)
    for block in function.blocks:
        if len(block.edges) != 2:
            continue
        side, other = (edge.target for edge in block.edges)
        test = block.insns[-1]
        if (
            len(side.insns) == 1
            and side.insns[0].opcode in _MOVES
            and len(preds[side]) == 1
            and side is not other
            and len(side.edges) == 1
            and [e.target for e in other.edges] == [side.edges[0].target]
        ):
            move = side.insns[0]
            if not _writes(move) & (_reads(test) | live[other]):
                block.insns.insert(-1, move)
                side.insns.clear()
                return True
    return False


def _repeat_loop_test(function: MachineFunction) -> bool:
    """The only block that goes back to a mere test tests itself: one jump less in each round of the loop."""
    place = {block: index for index, block in enumerate(function.blocks)}
    preds = _predecessors(function)
    for head in function.blocks:
        if len(head.insns) == 1 and len(head.edges) == 2:
            latches = [p for p in preds[head] if place[p] > place[head]]
            if len(latches) == 1 and len(latches[0].edges) == 1:
                latches[0].insns.append(dataclasses.replace(head.insns[0]))
                latches[0].edges = head.edges
                return True
    return False


def _merge_equal_blocks(function: MachineFunction) -> bool:
    """Blocks with the same instructions that go to the same places."""
    known: dict[object, MachineBlock] = {}
    change: dict[MachineBlock, MachineBlock] = {}
    for block in function.blocks:
        if block is function.blocks[0] or len(block.edges) > 1 or not all(map(_movable, block.insns)):
            continue
        key = (tuple(_key(i) for i in block.insns), tuple(e.target for e in block.edges))
        first = known.setdefault(key, block)
        if first is not block:
            change[block] = first
            first.unlikely &= block.unlikely
    _retarget(function, change)
    return bool(change)


def _share_ends(function: MachineFunction) -> bool:
    """A block that ends like another whole block goes to that one instead."""
    whole: dict[object, MachineBlock] = {}
    for block in function.blocks:
        # A jump is as long as an exit alone, so that sharing pays from two instructions on.
        worth = len(block.insns) >= (1 if block.edges else 2)
        if worth and len(block.edges) < 2 and all(map(_movable, block.insns)):
            whole[tuple(_key(i) for i in block.insns), _target(block)] = block
    changed = False
    for block in function.blocks:
        if len(block.edges) > 1:
            continue
        first = len(block.insns)
        while first > 1 and _movable(block.insns[first - 1]):
            first -= 1
        for start in range(first, len(block.insns)):
            shared = whole.get((tuple(_key(i) for i in block.insns[start:]), _target(block)))
            if shared is not None and shared is not block:
                del block.insns[start:]
                block.edges = (Edge(shared),)
                changed = True
                break
    return changed


def _target(block: MachineBlock) -> MachineBlock | None:
    return block.edges[0].target if block.edges else None
