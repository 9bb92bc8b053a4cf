"""Global value numbering: an expression that was computed on every way here is not computed again.

::

    %1 = load.4 ptr<packet> %ctx + 0         %1 = load.4 ptr<packet> %ctx + 0
    %2 = add i64 %x, %y                      %2 = add i64 %x, %y
    store.8 %slot + 0, %2             →      store.8 %slot + 0, %2
    %3 = load.4 ptr<packet> %ctx + 0         %5 = load.1 i64 %1 + 4
    %4 = add i64 %y, %x
    %5 = load.1 i64 %3 + %4

Walks the dominator tree with the expressions available so far. Loads take part as long as nothing may have
changed their memory: a region is unchanged since the immediate dominator unless the block is in the iterated
dominance frontier of the blocks that change it, as in SSA construction for memory. A load of what was just
stored is the stored value. Pointers to packets and context fields are loaded anew after a helper that changes
the packet, because such a helper changes the context's region.

Merging makes checks count for more: what was compared and what is used become one value. Constants, maps and
addresses in the frame are not merged, because making them again is cheaper than a register. Nor are offsets that
pointers move by, where a branch has learned more of the operands since: the verifier then knows more of the operand,
but not of what was computed from it before. Nor are numbers of the context that a loop reads with what was read
before it: what the tests of each iteration teach the verifier would stay with them behind the loop, something else for
every iteration in which it may be left. So would what is known to be in the packet, so pointers to it are read anew
behind a loop that checks them.

Requires: ``simplify`` before, which puts operands in order. Invalidates: nothing.
"""

from __future__ import annotations

from collections.abc import Hashable

from pyebpf.backend.passes.addresses import place_of
from pyebpf.backend.passes.evaluate import possible_bits
from pyebpf.backend.passes.memory import Memory, Region, context_changers
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import ops
from pyebpf.ir.cfg import Dominators, Loop, defining_blocks, iterated_frontier, loops
from pyebpf.ir.edit import substitute
from pyebpf.ir.ops import Alloca, BinOp, Block, Const, Function, Load, Module, Op, Store, Value
from pyebpf.ir.types import I64, IntTy, PtrTy, Space
from pyebpf.uapi.helpers import helper_by_name

if TYPE_CHECKING:
    from typing import Final


_COMMUTATIVE: Final = frozenset({BinOp.ADD, BinOp.MUL, BinOp.AND, BinOp.OR, BinOp.XOR})
_SAME_EACH_TIME: Final = frozenset(
    row.id
    for row in map(
        helper_by_name,
        ("get_current_pid_tgid", "get_current_uid_gid", "get_current_task", "get_smp_processor_id"),
    )
    if row is not None
)
"""Helpers that give the same result all through one run of a program."""

_FEW: Final = 8
"""So few ways out of a loop do not matter."""
_MANY: Final = 1 << 32

_Available = dict[Region, dict[Hashable, Value]]
"""For each region the loads whose value is known: what was read, and the value."""


def run(module: Module) -> bool:
    """Number the values of every function. Returns whether anything changed."""
    changers = context_changers(module)
    changes = [_Numbering(f, Memory(f, module, changers)).run() for f in module.functions.values()]
    return any(changes)


def _offsets(function: Function) -> set[Value]:
    """The numbers that pointers move by, and those from which they are computed."""
    waiting: list[Value] = [op.offset for op in function.ops() if isinstance(op, ops.PtrAdd)]
    found: set[Value] = set()
    while waiting:
        value = waiting.pop()
        if value in found or isinstance(value, Const):
            continue
        found.add(value)
        if isinstance(value, ops.Binary | ops.Zext | ops.Sext | ops.Trunc | ops.Neg):
            waiting += value.operands()
    return found


def _checks_packet(block: Block) -> bool:
    """Whether a pointer is compared with the packet's end."""
    pointers = (v.type for op in block.ops if isinstance(op, ops.Cmp) for v in op.operands())
    return any(isinstance(kind, PtrTy) and kind.space is Space.PACKET_END for kind in pointers)


def _rounds(loop: Loop) -> int:
    """The number with which a counter of the loop is compared where it may be left; very many if there is none."""
    found = [_MANY]
    for block, _ in loop.exits():
        match block.terminator:
            case ops.Branch(condition=ops.Cmp(left=counter, right=Const(value=limit))):
                stepped = counter.left if isinstance(counter, ops.Binary) else counter
                if isinstance(stepped, ops.Phi) and _counts(stepped, loop):
                    found.append(limit)
            case _:
                pass
    return min(found)


def _counts(number: ops.Phi, loop: Loop) -> bool:
    """Whether every iteration adds something constant to ``number``."""
    return number in loop.header.ops and all(
        isinstance(value, ops.Binary)
        and value.op is BinOp.ADD
        and value.left is number
        and isinstance(value.right, Const)
        for block, value in number.incoming.items()
        if block in loop.blocks
    )


class _Numbering:
    def __init__(self, function: Function, memory: Memory) -> None:
        self.function = function
        self.memory = memory
        self.replaced: dict[Value, Value] = {}
        self.number: dict[Hashable, int] = {}
        self.expressions: dict[Hashable, Value] = {}
        self.offsets = _offsets(function)
        self.learned: dict[Value, Block] = {}
        self.homes = defining_blocks(function)
        self.loops: dict[Block, list[Loop]] = {}
        self.changed = False

    def run(self) -> bool:
        dominators = Dominators(self.function)
        self.dominators = dominators
        self.place = {block: number for number, block in enumerate(dominators.order)}
        self.checking = [
            loop
            for loop in loops(self.function, dominators)
            if _rounds(loop) > _FEW and any(map(_checks_packet, loop.blocks))
        ]
        for loop in loops(self.function, dominators):
            for inside in loop.blocks:
                self.loops.setdefault(inside, []).append(loop)
        forgets = self.forgotten(dominators)
        at_end: dict[Block, _Available] = {}
        learned: dict[Block, dict[Value, Block]] = {}
        stack: list[tuple[Block, list[Hashable] | None]] = [(self.function.entry, None)]
        while stack:
            block, undo = stack.pop()
            if undo is not None:
                for key in undo:
                    del self.expressions[key]
                continue
            parent = dominators.idom.get(block)
            self.learned = learned[parent] if parent else {}
            if dominators.preds[block] == [parent] and parent is not None:
                self.learned = self.learned | dict.fromkeys(self.compared(parent), block)
            learned[block] = self.learned
            inherited: _Available = at_end[parent] if parent else {}
            self.available: _Available = {
                region: dict(known)
                for region, known in inherited.items()
                if block not in forgets.get(region, ())
            }
            self.undo: list[Hashable] = []
            self.block(block)
            at_end[block] = self.available
            stack.append((block, self.undo))
            stack.extend((child, None) for child in reversed(dominators.children[block]))
        substitute(self.function, self.replaced)
        return self.changed or bool(self.replaced)

    def forgotten(self, dominators: Dominators) -> dict[Region, set[Block]]:
        """For each region the blocks at whose start it may be another than at the end of the dominator."""
        writers: dict[Region, list[Block]] = {}
        for block in dominators.order:
            for region in {r for op in block.ops for r in self.memory.clobbers(op)}:
                writers.setdefault(region, []).append(block)
        if not writers:
            return {}
        frontiers = dominators.frontiers()
        return {region: set(iterated_frontier(frontiers, blocks)) for region, blocks in writers.items()}

    def block(self, block: Block) -> None:
        out: list[Op] = []
        for op in block.ops:
            op.map_operands(self.resolve)
            if isinstance(op, Store) and self.stored_already(op):
                self.changed = True
                continue
            leader = self.leader(op, block, out)
            if leader is None:
                out.append(op)
            else:
                self.replaced[op] = leader
        block.ops = out

    def resolve(self, value: Value) -> Value:
        return self.replaced.get(value, value)

    def leader(self, op: Op, block: Block, out: list[Op]) -> Value | None:
        """The value that makes ``op`` superfluous, if there is one; what ``op`` does to memory is noted."""
        if isinstance(op, Load):
            return self.load(op, block, out)
        key = self.key(op, block)
        if key is None:
            self.effects(op)
            return None
        known = self.expressions.get(key)
        if known is None:
            self.expressions[key] = op
            self.undo.append(key)
        return known

    # ------------------------------------------------------------ expressions

    def compared(self, block: Block) -> list[Value]:
        """The numbers of which the branch at the end of ``block`` tells something."""
        branch = block.ops[-1]
        conditions = [branch.condition] if isinstance(branch, ops.Branch) else []
        found: list[Value] = []
        while conditions:
            condition = conditions.pop()
            if isinstance(condition, ops.Binary):  # and, or, xor of several
                conditions += condition.operands()
            elif isinstance(condition, ops.Cmp):
                for value in condition.operands():
                    while isinstance(value.type, IntTy):
                        found.append(value)
                        if not isinstance(value, ops.Zext | ops.Sext | ops.Trunc):
                            break
                        value = value.operand
        return found

    def id(self, value: Value) -> int:
        """A number that values have in common only if they are equal."""
        key: Hashable
        match value:
            case Const():
                key = (value.type, value.value)
            case ops.MapRef():
                key = ("map", value.map)
            case _:
                key = value
        return self.number.setdefault(key, len(self.number))

    def key(self, op: Op, block: Block) -> Hashable | None:
        """What makes two operations equal; None for those that are not merged."""
        key = self.operation(op, block)
        if key is None or not (op in self.offsets or isinstance(op, ops.PtrAdd)):
            return key
        since = tuple(self.learned.get(operand) for operand in op.operands())
        return (key, since) if any(since) else key

    def operation(self, op: Op, block: Block) -> Hashable | None:
        """What ``op`` does with which operands; None for what is not merged."""
        match op:
            case ops.Binary():
                pair = (self.id(op.left), self.id(op.right))
                if op.op in _COMMUTATIVE and pair[0] > pair[1]:
                    pair = (pair[1], pair[0])
                return (op.op, op.type, pair)
            case ops.Cmp():
                return (op.pred, self.id(op.left), self.id(op.right))
            case ops.Zext() | ops.Sext() | ops.ByteSwap():
                return (type(op), op.bits, self.id(op.operand))
            case ops.Neg() | ops.Trunc():
                return (type(op), self.id(op.operand))
            case ops.NonNull():
                return (ops.NonNull, self.id(op.pointer))
            case ops.GlobalRef():
                return (op.section, op.variable)
            case ops.ExternRef():
                return (ops.ExternRef, op.extern)
            case ops.CoreAddress():
                return (ops.CoreAddress, op.type, self.id(op.base), op.root, op.access)
            case ops.PtrAdd():
                place = place_of(op)
                if isinstance(place.root, Alloca) and place.offset is not None:
                    return None
                return (ops.PtrAdd, op.type, self.id(op.base), self.id(op.offset))
            case ops.Phi():
                inputs = tuple((b, self.id(self.resolve(v))) for b, v in op.incoming.items())
                return (block, op.type, frozenset(inputs))
            case ops.CallHelper() if op.helper in _SAME_EACH_TIME:
                return (op.helper, op.type)
            case _:
                return None

    # ------------------------------------------------------------ memory

    def load(self, op: Load, block: Block, out: list[Op]) -> Value | None:
        region = self.memory.region(op.pointer)
        pointer = self.id(op.pointer)
        if region is None:
            key = (Load, pointer, op.offset, op.width, op.signed, op.type)
            known = self.expressions.get(key)
            if known is None:
                self.expressions[key] = op
                self.undo.append(key)
            return known
        known_here = self.available.setdefault(region, {})
        value = known_here.get((pointer, op.offset, op.width, op.signed, op.type))
        if value is None and op.type == I64 and not op.signed:
            # What a store left, if it is wider than what it wrote, has to be cut.
            stored = known_here.get((pointer, op.offset, op.width))
            if stored is not None:
                value = stored
                if possible_bits(stored) >> op.width * 8:
                    cut = ops.Zext(op.width * 8, stored, type=I64, span=op.span, name=op.name)
                    out.append(cut)
                    value = cut
        if value is not None and region is Space.CTX and self.learned_elsewhere(op, value, block):
            value = None
        if value is None:
            value = op
        known_here[(pointer, op.offset, op.width, op.signed, op.type)] = value
        return None if value is op else value

    def learned_elsewhere(self, op: Load, value: Value, block: Block) -> bool:
        """Whether ``value`` may differ from ``op`` in what a loop has taught the verifier of it."""
        home = self.homes.get(value)
        if home is None:
            return False
        if op.type == I64:
            return self.loops.get(home) != self.loops.get(block)
        return any(
            self.place[loop.header] < self.place[block]
            and (home in loop.blocks or self.dominators.dominates(home, loop.header))
            for loop in self.checking
            if block not in loop.blocks
        )

    def effects(self, op: Op) -> None:
        match op:
            case Store():
                self.store(op)
            case _:
                for region in self.memory.clobbers(op):
                    self.available.pop(region, None)

    def stored_already(self, op: Store) -> bool:
        """Whether a slot holds the value in question anyway. Other memory may have been written by somebody
        else."""
        region = self.memory.region(op.pointer)
        if not isinstance(region, Alloca):
            return False
        known = self.available.get(region, {}).get((self.id(op.pointer), op.offset, op.width))
        return known is not None and self.id(known) == self.id(op.value)

    def store(self, op: Store) -> None:
        """Forget what the store may have changed; through the same pointer, bytes beside it stay known."""
        pointer = self.id(op.pointer)
        home = self.memory.region(op.pointer)
        for region in self.memory.clobbers(op):
            known = self.available.get(region, {})
            self.available[region] = {
                key: value
                for key, value in known.items()
                if isinstance(key, tuple)
                and key[0] == pointer
                and (key[1] + key[2] <= op.offset or op.offset + op.width <= key[1])
            }
        if home is None:
            return
        here = self.available.setdefault(home, {})
        if isinstance(op.value.type, PtrTy):
            here[(pointer, op.offset, op.width, False, op.value.type)] = op.value
        elif op.value.type == I64:
            here[(pointer, op.offset, op.width)] = op.value
