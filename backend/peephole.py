"""Small improvements after register allocation, on blocks as they stand.

Each rule is a method that tells whether it changed something; they run until none does. All of them make
the code smaller or leave its size alone. None moves a memory access or a call to another path: the verifier
refuses one instruction that accesses different kinds of memory depending on where control came from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyebpf.backend import insn as isa
from pyebpf.backend.insn import Alu, Class, Jmp, Source
from pyebpf.backend.machine import (
    CALL_CLOBBERED,
    Edge,
    MachineBlock,
    MachineFunction,
    MachineInsn,
    PReg,
    Role,
)
from pyebpf.backend.moves import move
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir.builder import NameSupply
from pyebpf.records import replace

if TYPE_CHECKING:
    from typing import Final


_MOVES: Final = frozenset(isa.alu(Alu.MOV, source, wide=wide) for source in Source for wide in (False, True))
_SHARED: Final = _MOVES | {
    isa.EXIT,
    isa.LD_IMM64,
}  # may be shared by paths, whatever the registers hold there

# The constant moves, with the bits of their (sign-extended) immediate that the register gets.
_CONSTANTS: Final = {
    isa.alu(Alu.MOV, Source.K): (1 << 64) - 1,
    isa.alu(Alu.MOV, Source.K, wide=False): (1 << 32) - 1,
}


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


# What the jumps test, on two unsigned numbers of so many bits.
_RELATIONS: Final[dict[Jmp, Callable[[int, int, int], bool]]] = {
    Jmp.JEQ: lambda a, b, bits: a == b,
    Jmp.JNE: lambda a, b, bits: a != b,
    Jmp.JGT: lambda a, b, bits: a > b,
    Jmp.JGE: lambda a, b, bits: a >= b,
    Jmp.JLT: lambda a, b, bits: a < b,
    Jmp.JLE: lambda a, b, bits: a <= b,
    Jmp.JSET: lambda a, b, bits: a & b != 0,
    Jmp.JSGT: lambda a, b, bits: _signed(a, bits) > _signed(b, bits),
    Jmp.JSGE: lambda a, b, bits: _signed(a, bits) >= _signed(b, bits),
    Jmp.JSLT: lambda a, b, bits: _signed(a, bits) < _signed(b, bits),
    Jmp.JSLE: lambda a, b, bits: _signed(a, bits) <= _signed(b, bits),
}

_UNSIGNED: Final = {Jmp.JGE: Jmp.JGE, Jmp.JGT: Jmp.JGT, Jmp.JSGE: Jmp.JGE, Jmp.JSGT: Jmp.JGT}


def peephole(function: MachineFunction) -> None:
    """Improve an allocated function in place; unreachable blocks go away."""
    rules = _Rules(function)
    end = rules.separate_exits()
    while any(
        # A list, so that every rule has its turn in every round.
        [
            rules.thread_empty_blocks(),
            rules.drop_needless_tests(),
            rules.join_range_tests(),
            rules.join_straight_lines(),
            rules.remove_dead(),
            rules.merge_equal_blocks(),  # before a part of what they share is moved away
            rules.share_ends(),
            rules.hoist_constants(),
            rules.hoist_shared_constants(),
            rules.repeat_loop_tests(),
            rules.decide_tests(),
        ]
    ):
        pass
    if end is not None:
        rules.name_results_early(end)
        rules.join_exits(end)


def _register(reg: object) -> int:
    assert isinstance(reg, PReg), "peephole before register allocation"
    return reg.number


def _key(insn: MachineInsn) -> tuple[object, ...]:
    """What makes two instructions the same code."""
    fields = [None if i is None else _register(insn.operands[i].reg) for i in (insn.dst, insn.src)]
    place = (id(insn.frame), insn.frame_is_dst)
    return (insn.opcode, *fields, insn.src_field, insn.offset, insn.imm, place, insn.symbol)


def _pure(insn: MachineInsn) -> bool:
    """Whether all that it does is to change its destination."""
    return insn.opcode & 7 in (Class.ALU, Class.ALU64) or insn.opcode == isa.LD_IMM64


def _target(block: MachineBlock) -> MachineBlock | None:
    """Where a block without a test goes; ``None`` for an exit."""
    return block.edges[0].target if block.edges else None


class _Rules:
    """The rules for one function. Sets of registers are bit masks."""

    def __init__(self, function: MachineFunction) -> None:
        self.function = function
        self._effects: dict[MachineInsn, tuple[int, int]] = {}
        self.remove_unreachable()

    # ------------------------------------------------------------ facts

    def effect(self, insn: MachineInsn) -> tuple[int, int]:
        """(registers read, registers written)."""
        found = self._effects.get(insn)
        if found is None:
            reads = writes = 0
            for operand in insn.operands:
                if operand.role is Role.USE:
                    reads |= 1 << _register(operand.reg)
                else:
                    writes |= 1 << _register(operand.reg)
            for number in insn.clobbers:
                writes |= 1 << number
            found = self._effects[insn] = reads, writes
        return found

    def predecessors(self) -> dict[MachineBlock, list[MachineBlock]]:
        """The blocks that go to each block, once for each edge."""
        found: dict[MachineBlock, list[MachineBlock]] = {block: [] for block in self.function.blocks}
        for block in self.function.blocks:
            for edge in block.edges:
                found[edge.target].append(block)
        return found

    def live_in(self) -> dict[MachineBlock, int]:
        """The registers that each block reads before it writes them, or passes on."""
        summary: dict[MachineBlock, tuple[int, int]] = {}
        for block in self.function.blocks:
            needed = killed = 0
            for insn in reversed(block.insns):
                reads, writes = self.effect(insn)
                needed = needed & ~writes | reads
                killed |= writes
            summary[block] = needed, killed
        live = dict.fromkeys(self.function.blocks, 0)
        changed = True
        while changed:
            changed = False
            for block in reversed(self.function.blocks):
                needed, killed = summary[block]
                now = self.live_out(block, live) & ~killed | needed
                changed |= now != live[block]
                live[block] = now
        return live

    def live_out(self, block: MachineBlock, live: dict[MachineBlock, int]) -> int:
        """The registers that a successor needs."""
        out = 0
        for edge in block.edges:
            out |= live[edge.target]
        return out

    def leaves_loop(self, block: MachineBlock, side: MachineBlock) -> bool:
        """Whether ``block`` is run again and again, but not after it went to ``side``."""
        return self._reaches(block, block) and not self._reaches(side, block)

    def _reaches(self, start: MachineBlock, end: MachineBlock) -> bool:
        """Whether a way of at least one edge leads from ``start`` to ``end``."""
        seen: set[MachineBlock] = set()
        work = [edge.target for edge in start.edges]
        while work:
            block = work.pop()
            if block is end:
                return True
            if block not in seen:
                seen.add(block)
                work.extend(edge.target for edge in block.edges)
        return False

    # ------------------------------------------------------------ changes

    def remove_unreachable(self) -> None:
        """Drop blocks that control cannot come to."""
        seen: dict[MachineBlock, None] = {}
        work = [self.function.blocks[0]]
        while work:
            block = work.pop()
            if block not in seen:
                seen[block] = None
                work.extend(edge.target for edge in block.edges)
        self.function.blocks[:] = [block for block in self.function.blocks if block in seen]

    def retarget(self, change: dict[MachineBlock, MachineBlock]) -> bool:
        """Let edges to the keys go to the values; whether there were any."""
        if not change:
            return False
        for block in self.function.blocks:
            block.edges = tuple(Edge(change.get(e.target, e.target)) for e in block.edges)
        self.remove_unreachable()
        return True

    # ------------------------------------------------------------ exits

    def separate_exits(self) -> MachineBlock | None:
        """Let all blocks that end in an exit go to one block that has nothing else, so that what they do before it may be
        hoisted; that block, or None if there is one exit only."""
        ends = [block for block in self.function.blocks if block.insns and block.insns[-1].opcode == isa.EXIT]
        if len(ends) < 2:
            return None
        names = NameSupply(block.name for block in self.function.blocks)
        common = MachineBlock(names.fresh("exit"), insns=[replace(ends[-1].insns[-1], span=None)])
        for block in ends:
            block.insns.pop()
            block.edges = (Edge(common),)
        self.function.blocks.append(common)
        return common

    def join_exits(self, common: MachineBlock) -> None:
        """Undo that where no test goes to the common exit: a jump to it is as long as an exit."""
        preds = self.predecessors().get(common, [])
        if any(len(block.edges) > 1 for block in preds):
            return
        for block in preds:
            span = block.insns[-1].span if block.insns else None
            block.insns.append(replace(common.insns[0], span=span))
            block.edges = ()
        self.remove_unreachable()

    def name_results_early(self, common: MachineBlock) -> None:
        """Give constant results by way of another register where r0 is in use until the end: ``if c goto T; …; r0 = 1; exit;
        T: r0 = 2; exit`` becomes ``r1 = 2; if c goto X; …; r1 = 1; X: r0 = r1; exit``. That pays from the second T on."""
        live, preds = self.live_in(), self.predecessors()
        ends = preds.get(common, [])
        if any(len(b.edges) != 1 or not b.insns or b.insns[-1].opcode not in _CONSTANTS for b in ends):
            return
        # One side of each test: the other one sets its result itself.
        sides = {preds[block][0]: block for block in ends if len(block.insns) == 1 and len(preds[block]) == 1}
        if len(sides) < 2 or len(sides) == len(ends):
            return
        needed = 0
        for test, side in sides.items():
            if len(test.edges) != 2 or self.leaves_loop(test, side):
                return
            needed |= self.effect(test.insns[-1])[0]
            for edge in test.edges:
                needed |= live[edge.target]
        free = next((number for number in sorted(CALL_CLOBBERED) if not needed >> number & 1), None)
        if free is None:
            return
        last = MachineBlock(f"{common.name}.result", insns=[move(0, free)], edges=(Edge(common),))
        for block in ends:
            named = block.insns.pop()
            operands = tuple(replace(operand, reg=PReg(free)) for operand in named.operands)
            named = replace(named, operands=operands)
            test = preds[block][0]
            if sides.get(test) is block:
                test.insns.insert(-1, named)
            else:
                block.insns.append(named)
            block.edges = (Edge(last),)
        self.function.blocks.insert(self.function.blocks.index(common), last)
        self.thread_empty_blocks()

    # ------------------------------------------------------------ rules

    def thread_empty_blocks(self) -> bool:
        """Jump past blocks that only jump on."""
        change: dict[MachineBlock, MachineBlock] = {}
        for block in self.function.blocks[1:]:
            end, seen = block, {block}
            while not end.insns and len(end.edges) == 1 and end.edges[0].target not in seen:
                end = end.edges[0].target
                seen.add(end)
            if end is not block:
                change[block] = end
        return self.retarget(change)

    def drop_needless_tests(self) -> bool:
        """``if c goto A`` in front of A."""
        changed = False
        for block in self.function.blocks:
            if len(block.edges) == 2 and block.edges[0].target is block.edges[1].target:
                block.insns.pop()
                block.edges = block.edges[:1]
                changed = True
        return changed

    def join_range_tests(self) -> bool:
        """``if r s< 0 goto T; if r >= 48 goto T``: what is negative is large as an unsigned number."""
        preds = self.predecessors()
        changed = False
        for block in self.function.blocks:
            if len(block.edges) != 2:
                continue
            outside, following = (edge.target for edge in block.edges)
            if preds[following] != [block] or len(following.insns) != 1 or len(following.edges) != 2:
                continue
            negative, above = block.insns[-1], following.insns[0]
            if (
                following.edges[0].target is outside
                and negative.opcode & 0xF8 == isa.jump(Jmp.JSLT, Source.K) & 0xF8
                and negative.opcode & 7 == above.opcode & 7
                and negative.imm == 0
                and above.src is None
                and above.imm > 0
                and Jmp(above.opcode & 0xF0) in _UNSIGNED
                and self.effect(negative)[0] == self.effect(above)[0]
            ):
                opcode = above.opcode & 0x0F | _UNSIGNED[Jmp(above.opcode & 0xF0)]
                following.insns[0] = replace(above, opcode=opcode)
                block.insns.pop()
                block.edges = block.edges[1:]
                changed = True
        return changed

    def join_straight_lines(self) -> bool:
        """A block that only one block goes to, and always, becomes a part of that."""
        preds = self.predecessors()
        entry = self.function.blocks[0]
        changed = False
        for block in self.function.blocks:
            while len(block.edges) == 1:
                follower = block.edges[0].target
                if len(preds[follower]) != 1 or follower in (block, entry):
                    break
                block.insns += follower.insns
                block.edges, follower.edges, follower.insns = follower.edges, (), []
                changed = True
        if changed:
            self.remove_unreachable()
        return changed

    def remove_dead(self) -> bool:
        """Computations whose result nobody reads, and copies of a register to itself."""
        live = self.live_in()
        changed = False
        for block in self.function.blocks:
            now = self.live_out(block, live)
            kept: list[MachineInsn] = []
            for insn in reversed(block.insns):
                reads, writes = self.effect(insn)
                if (_pure(insn) and not writes & now) or (insn.move and reads == writes):
                    changed = True
                    continue
                kept.append(insn)
                now = now & ~writes | reads
            block.insns[:] = reversed(kept)
        return changed

    def hoist_constants(self) -> bool:
        """``if c goto T; …; T: r = 1; goto J`` becomes ``r = 1; if c goto J; …`` where only T's path needs
        r."""
        live, preds = self.live_in(), self.predecessors()
        changed = False
        for block in self.function.blocks:
            if len(block.edges) != 2:
                continue
            first, second = (edge.target for edge in block.edges)
            read_by_test, _ = self.effect(block.insns[-1])
            for side, other in ((first, second), (second, first)):
                if (
                    len(side.insns) == 1
                    and side.insns[0].opcode in _MOVES
                    and len(preds[side]) == 1
                    and len(side.edges) == 1
                    and not self.effect(side.insns[0])[1] & (read_by_test | live[other])
                    and not self.leaves_loop(block, side)
                ):
                    block.insns.insert(-1, side.insns.pop())
                    live[block] |= self.effect(block.insns[-2])[0]
                    live[side] = self.live_out(side, live)
                    changed = True
        return changed

    def hoist_shared_constants(self) -> bool:
        """``if a goto T; if b goto T; …; T: r = 1; goto J`` likewise: before the first of a row of tests."""
        live, preds = self.live_in(), self.predecessors()
        for side in self.function.blocks:
            from_ = set(preds[side])
            if not (len(from_) > 1 and len(side.edges) == 1 and len(side.insns) == 1):
                continue
            if side.insns[0].opcode not in _CONSTANTS or any(
                len({e.target for e in p.edges}) != 2 for p in from_
            ):
                continue
            other = {p: next(e.target for e in p.edges if e.target is not side) for p in from_}
            first = next((p for p in from_ if not any(other[q] is p for q in from_)), None)
            row = [first] if first is not None else []
            while row and other[row[-1]] in from_ and preds[other[row[-1]]] == [row[-1]]:
                row.append(other[row[-1]])
            if len(row) != len(from_):
                continue
            written = self.effect(side.insns[0])[1]
            needed = 0
            for block in row:
                needed |= self.effect(block.insns[-1])[0] | live[other[block]]
                if block is not first:
                    for insn in block.insns:
                        needed |= self.effect(insn)[1]
            if not written & needed and not self.leaves_loop(row[0], side):
                row[0].insns.insert(-1, side.insns.pop())
                return True
        return False

    def repeat_loop_tests(self) -> bool:
        """The only block that goes back to a mere test tests itself: one jump less in each round of the
        loop."""
        place = {block: index for index, block in enumerate(self.function.blocks)}
        preds = self.predecessors()
        for head in self.function.blocks:
            if len(head.insns) == 1 and len(head.edges) == 2:
                latches = [p for p in preds[head] if place[p] > place[head]]
                if len(latches) == 1 and len(latches[0].edges) == 1:
                    latches[0].insns.append(replace(head.insns[0]))
                    latches[0].edges = head.edges
                    return True
        return False

    def decide_tests(self) -> bool:
        """A mere test whose result is known where a block comes from: the block goes to where the test
        would."""
        changed = False
        for block in self.function.blocks:
            if len(block.edges) == 1 and block.edges[0].target is not block:
                head = block.edges[0].target
                if len(head.insns) == 1 and len(head.edges) == 2:
                    taken = self.outcome(head.insns[0], block.insns)
                    if taken is not None:
                        block.edges = (head.edges[0 if taken else 1],)
                        changed = True
            elif len(block.edges) == 2:
                taken = self.outcome(block.insns[-1], block.insns[:-1])
                if taken is not None:
                    block.insns.pop()
                    block.edges = (block.edges[0 if taken else 1],)
                    changed = True
        if changed:
            self.remove_unreachable()
        return changed

    def outcome(self, test: MachineInsn, before: Sequence[MachineInsn]) -> bool | None:
        """Whether ``test`` jumps after ``before``, if it compares a constant set there with another."""
        reads, _ = self.effect(test)
        if test.src is not None:
            return None
        for insn in reversed(before):
            if self.effect(insn)[1] & reads:
                if insn.opcode not in _CONSTANTS or insn.symbol is not None:
                    return None
                bits = 64 if test.opcode & 7 == Class.JMP else 32
                value = insn.imm & (_CONSTANTS[insn.opcode] & (1 << bits) - 1)
                return _RELATIONS[Jmp(test.opcode & 0xF0)](value, test.imm & (1 << bits) - 1, bits)
        return None

    def merge_equal_blocks(self) -> bool:
        """Blocks with the same instructions that go to the same place."""
        known: dict[object, MachineBlock] = {}
        change: dict[MachineBlock, MachineBlock] = {}
        for block in self.function.blocks[1:]:
            if len(block.edges) < 2 and all(i.opcode in _SHARED for i in block.insns):
                key = tuple(_key(i) for i in block.insns), _target(block)
                first = known.setdefault(key, block)
                if first is not block:
                    change[block] = first
                    first.unlikely &= block.unlikely
        return self.retarget(change)

    def share_ends(self) -> bool:
        """A block that ends like another whole block goes to that one instead."""
        whole: dict[object, MachineBlock] = {}
        for block in self.function.blocks:
            # A jump is as long as an exit alone, so that sharing pays from two instructions on.
            worth = len(block.insns) >= (1 if block.edges else 2)
            if worth and len(block.edges) < 2 and all(i.opcode in _SHARED for i in block.insns):
                whole[tuple(_key(i) for i in block.insns), _target(block)] = block
        changed = False
        for block in self.function.blocks:
            if len(block.edges) > 1:
                continue
            first = len(block.insns)
            while first > 1 and block.insns[first - 1].opcode in _SHARED:
                first -= 1
            for start in range(first, len(block.insns)):
                shared = whole.get((tuple(_key(i) for i in block.insns[start:]), _target(block)))
                if shared is not None and shared is not block:
                    del block.insns[start:]
                    block.edges = (Edge(shared),)
                    changed = True
                    break
        return changed
