"""A judge of register allocations that shares nothing with the allocator.

``check`` takes a function as it was before allocation and as it is now and proves, by abstract interpretation over
the control flow, that every instruction still reads the values it read before (after the checker of regalloc2; the
idea is that of Leroy and Rideau's and of Blazy, Robillard and Appel's validators of allocations).

The abstract state says, for each machine register and each spill slot, which virtual registers' values it surely
holds. At the start the parameters are in r1, r2, …; an instruction of the original must find each of its uses in
the register it now names, and leaves its definitions in theirs; moves, spills and reloads copy what is known; a
repeated constant holds the values of all definitions with the same content; an edge renames arguments to
parameters. Where paths meet only what holds on all of them is kept; a fixed point covers loops.

What is checked as well: fixed registers, ties, early definitions, clobbers, that r10 is never written, that nothing
but the allocator's own instructions touches spill slots, that no original instruction is missing, added or out of
order, and that blocks and edges are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pyebpf.backend import insn as encoding
from pyebpf.backend.machine import (
    FRAME_POINTER,
    Edge,
    FrameSlot,
    MachineBlock,
    MachineFunction,
    MachineInsn,
    PReg,
    Reg,
    Role,
    VReg,
)
from pyebpf.diagnostics import PyebpfError
from pyebpf.records import dataclass, replace

Place = int | FrameSlot
State = dict[Place, frozenset[object]]

_MOVE = encoding.alu(encoding.Alu.MOV, encoding.Source.X)
_LOAD = encoding.ldx(8)
_STORE = encoding.stx(8)


class AllocationError(PyebpfError):
    """An allocation is wrong: says where, and what should have been there."""


def snapshot(function: MachineFunction) -> MachineFunction:
    """A copy of ``function`` to keep while it is allocated. Frame slots stay the same objects."""
    blocks = {
        id(b): MachineBlock(b.name, b.params, [replace(i) for i in b.insns], (), b.unlikely)
        for b in function.blocks
    }
    for block in function.blocks:
        blocks[id(block)].edges = tuple(Edge(blocks[id(e.target)], e.args) for e in block.edges)
    return replace(function, blocks=list(blocks.values()), slots=list(function.slots))


def check(before: MachineFunction, after: MachineFunction) -> None:
    """Prove that ``after`` is a right allocation of ``before`` (a ``snapshot`` of it).

    Raises ``AllocationError`` if that is not so.
    """
    _Checker(before, after).run()


@dataclass(frozen=True, slots=True)
class _Content:
    """What a rematerialisable instruction computes: equal contents, equal values."""

    opcode: int
    src_field: int
    offset: int
    imm: int
    frame: int | None
    symbol: object


def _content(insn: MachineInsn) -> _Content:
    frame = None if insn.frame is None else id(insn.frame)
    return _Content(insn.opcode, insn.src_field, insn.offset, insn.imm, frame, insn.symbol)


class _Checker:
    """The state of one check."""

    def __init__(self, before: MachineFunction, after: MachineFunction) -> None:
        self.before = before
        self.after = after
        self.own_slots = {id(s) for s in after.slots} - {id(s) for s in before.slots}
        self.reachable = _reachable(before)
        self.symbols = self._symbols()
        self.contents = {_content(i) for b in self.reachable for i in b.insns if i.remat}

    def run(self) -> None:
        old, new = self.reachable, self.after.blocks
        by_name = {b.name: b for b in old}
        if len(by_name) != len(old):
            raise self._error("two blocks have one name")
        if [b.name for b in new] != [b.name for b in old]:
            raise self._error("the blocks are not those of the original")
        for block in new:
            original = by_name[block.name]
            if block.params or any(e.args for e in block.edges):
                raise self._error(f"block {block.name} still has parameters or arguments")
            if [e.target.name for e in block.edges] != [e.target.name for e in original.edges]:
                raise self._error(f"block {block.name} goes elsewhere than before")
        entry: State = {}
        for i, param in enumerate(self.before.params):
            entry[i + 1] = frozenset([self._symbol(param)])
        states: dict[str, State] = {new[0].name: entry}
        work = [new[0].name]
        after_by_name = {b.name: b for b in new}
        while (
            work
        ):  # without complaints until the states are final: early ones know too much, never too little
            name = work.pop()
            leaving = self._walk(by_name[name], after_by_name[name], dict(states[name]))
            for edge in by_name[name].edges:
                target = edge.target.name
                arriving = self._cross(leaving, edge.target.params, edge.args)
                known = states.get(target)
                merged = arriving if known is None else _meet(known, arriving)
                if known is None or merged != known:
                    states[target] = merged
                    if target not in work:
                        work.append(target)

    # ------------------------------------------------------------ values

    def _symbols(self) -> dict[int, object]:
        """For each virtual register a name of its value: copies have their source's, constants their content's."""
        symbols: dict[int, object] = {}
        for block in self.reachable:
            for insn in block.insns:
                for definition in insn.defs():
                    if isinstance(definition.reg, VReg):
                        symbols[definition.reg.id] = _content(insn) if insn.remat else definition.reg.id
            for param in block.params:
                if isinstance(param, VReg):
                    symbols[param.id] = param.id
        copies = {
            d.reg.id: u.reg.id
            for b in self.reachable
            for i in b.insns
            if i.move
            for d, u in [(i.operands[0], i.operands[1])]
            if isinstance(d.reg, VReg) and isinstance(u.reg, VReg)
        }
        for target in copies:
            source = target
            while source in copies:
                source = copies[source]
            symbols[target] = symbols[source]
        return symbols

    def _symbol(self, reg: Reg) -> object:
        if not isinstance(reg, VReg):
            raise self._error(f"{reg} in the original is no virtual register")
        return self.symbols[reg.id]

    # ------------------------------------------------------------ transfer

    def _cross(self, state: State, params: tuple[Reg, ...], args: tuple[Reg, ...]) -> State:
        """``state`` after an edge that gives ``args`` to ``params``, at once."""
        if not params:
            return state
        renamed = [(self._symbol(p), self._symbol(a)) for p, a in zip(params, args, strict=True)]
        gone = {p for p, _ in renamed}
        result: State = {}
        for place, values in state.items():
            result[place] = frozenset(values - gone) | {p for p, a in renamed if a in values}
        return result

    def _walk(self, old: MachineBlock, new: MachineBlock, state: State) -> State:
        """``state`` after ``new``, which must do what ``old`` does."""
        remaining = _demanding(old)
        for insn in new.insns:
            if self._is_own(insn):
                self._own(new, insn, state)
                continue
            original = next(remaining, None)
            if original is None or not _same(original, insn):
                raise self._error(f"block {new.name}: an instruction is not the original's next: {insn}")
            self._original(new, original, insn, state)
        missing = next(remaining, None)
        if missing is not None:
            raise self._error(f"block {new.name}: an instruction is missing: {missing}")
        return state

    def _is_own(self, insn: MachineInsn) -> bool:
        """Whether the allocator put ``insn`` there: a move, a repeated constant, an access to a spill slot."""
        if insn.frame is not None and id(insn.frame) in self.own_slots:
            return True
        if insn.move:
            return all(o.reg != PReg(FRAME_POINTER) for o in insn.operands)
        return insn.remat and _content(insn) in self.contents

    def _own(self, block: MachineBlock, insn: MachineInsn, state: State) -> None:
        numbers = [self._number(block, o.reg) for o in insn.operands]
        if insn.frame is not None and id(insn.frame) in self.own_slots:
            slot = insn.frame
            if slot.size != 8 or slot.align != 8 or insn.offset or insn.imm or len(numbers) != 1:
                raise self._error(f"block {block.name}: a spill slot is not accessed whole: {insn}")
            role = insn.operands[0].role
            if (
                insn.opcode == _STORE
                and role is Role.USE
                and insn.src == 0
                and insn.dst is None
                and insn.frame_is_dst
            ):
                state[slot] = state.get(numbers[0], frozenset())
            elif insn.opcode == _LOAD and role is Role.DEF and insn.dst == 0 and not insn.frame_is_dst:
                self._write(block, state, numbers[0], state.get(slot, frozenset()))
            else:
                raise self._error(f"block {block.name}: {insn} is neither spill nor reload")
        elif insn.move:
            target, source = insn.operands
            plain = (
                insn.opcode == _MOVE
                and insn.dst == 0
                and insn.src == 1
                and not insn.offset
                and insn.frame is None
            )
            if not plain or target.role is not Role.DEF or source.role is not Role.USE:
                raise self._error(f"block {block.name}: {insn} does not copy a register")
            self._write(block, state, numbers[0], state.get(numbers[1], frozenset()))
        else:
            if [o.role for o in insn.operands] != [Role.DEF] or insn.dst != 0:
                raise self._error(f"block {block.name}: {insn} is no constant")
            self._write(block, state, numbers[0], frozenset([_content(insn)]))

    def _original(self, block: MachineBlock, old: MachineInsn, new: MachineInsn, state: State) -> None:
        """An instruction of the original: its uses are in place, its definitions become known."""
        pairs = list(zip(old.operands, new.operands, strict=True))
        where = f"block {block.name}: {new}"
        if old.commutative and self._swapped(block, old, new, state):
            swap = list(new.operands)
            tied = next(o.reuse for o in old.operands if o.reuse is not None)
            other = next(i for i, o in enumerate(old.operands) if o.role is Role.USE and i != tied)
            values = list(old.operands)
            values[tied], values[other] = values[other], values[tied]
            pairs = list(zip(values, swap, strict=True))
        read: set[int] = set()
        for was, now in pairs:
            if isinstance(was.reg, PReg):
                if was.reg != now.reg:
                    raise self._error(f"{where}: {was.reg} became {now.reg}")
                continue
            number = self._number(block, now.reg)
            if was.role is not now.role:
                raise self._error(f"{where}: an operand changed its role")
            if was.fixed is not None and number != was.fixed:
                raise self._error(f"{where}: {was.reg} must be in r{was.fixed}")
            if was.role is Role.USE:
                read.add(number)
                if self._symbol(was.reg) not in state.get(number, frozenset()):
                    raise self._error(f"{where}: r{number} does not hold {was.reg} ({was.reg.name})")
        for register in old.clobbers:
            state[register] = frozenset()
        written: set[int] = set()
        for was, now in pairs:
            if was.role is Role.USE or isinstance(was.reg, PReg):
                continue
            number = self._number(block, now.reg)
            if was.reuse is not None and new.operands[was.reuse].reg != now.reg:
                raise self._error(f"{where}: {was.reg} is not tied to its operand")
            if was.early and number in read:
                raise self._error(f"{where}: {was.reg} is written before a use is read")
            if number in written:
                raise self._error(f"{where}: r{number} is written twice")
            written.add(number)
            symbol = self._symbol(was.reg)
            for place, known in state.items():  # the value of an earlier turn of the loop is another one
                if symbol in known:
                    state[place] = known - {symbol}
        for was, now in pairs:
            if was.role is Role.DEF and isinstance(was.reg, VReg):
                self._write(block, state, self._number(block, now.reg), frozenset([self._symbol(was.reg)]))

    def _swapped(self, block: MachineBlock, old: MachineInsn, new: MachineInsn, state: State) -> bool:
        """Whether a commutative instruction finds its uses only with the two exchanged."""
        uses = [
            (o.reg, self._number(block, n.reg))
            for o, n in zip(old.operands, new.operands, strict=True)
            if o.role is Role.USE
        ]
        if len(uses) != 2:
            return False
        (a, in_a), (b, in_b) = uses
        straight = self._symbol(a) in state.get(in_a, frozenset()) and self._symbol(b) in state.get(
            in_b, frozenset()
        )
        return not straight

    def _write(self, block: MachineBlock, state: State, number: int, values: frozenset[object]) -> None:
        if number == FRAME_POINTER:
            raise self._error(f"block {block.name}: r10 is written")
        state[number] = values

    def _number(self, block: MachineBlock, reg: Reg) -> int:
        if not isinstance(reg, PReg) or not 0 <= reg.number <= FRAME_POINTER:
            raise self._error(f"block {block.name}: {reg} is no machine register")
        return reg.number

    def _error(self, message: str) -> AllocationError:
        return AllocationError(f"allocation of {self.before.name!r}: {message}")


def _reachable(function: MachineFunction) -> list[MachineBlock]:
    """The blocks that control can come to, in the function's order."""
    seen: set[int] = set()
    work = [function.blocks[0]]
    while work:
        block = work.pop()
        if id(block) not in seen:
            seen.add(id(block))
            work.extend(e.target for e in block.edges)
    return [b for b in function.blocks if id(b) in seen]


def _demanding(block: MachineBlock) -> Iterator[MachineInsn]:
    """The instructions of the original that must be there: not copies and constants, whose values are enough."""
    for insn in block.insns:
        is_copy = insn.move and all(isinstance(o.reg, VReg) for o in insn.operands)
        if not is_copy and not insn.remat:
            yield insn


def _same(old: MachineInsn, new: MachineInsn) -> bool:
    """Whether the two are the same but for their registers."""
    return (
        _content(old) == _content(new)
        and (old.dst, old.src, old.frame_is_dst, old.clobbers)
        == (new.dst, new.src, new.frame_is_dst, new.clobbers)
        and len(old.operands) == len(new.operands)
    )


def _meet(left: Mapping[Place, frozenset[object]], right: Mapping[Place, frozenset[object]]) -> State:
    """What both states know."""
    result: State = {}
    for place, values in left.items():
        common = values & right.get(place, frozenset())
        if common:
            result[place] = common
    return result
