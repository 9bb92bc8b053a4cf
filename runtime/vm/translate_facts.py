"""What is known of each register at each place of a function: the facts that make translated code short and fast.

A register holds a number of at most so many bits (numbers below 2**63 need no sign, sums below 2**64 no mask), or the
address of a known place (the frame, the context, a data section) at a constant offset. Registers that something may read
before anything was written to them are found here too: only those are checked when the program runs.
"""

from __future__ import annotations

from pyebpf import enums
from pyebpf.backend.insn import CALL, LD_IMM64, Alu, AtomicImm, CallKind, Class, Insn, Mode, Source
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass, field
from pyebpf.runtime.vm.translate_flow import Block, Flow

if TYPE_CHECKING:
    from typing import Final


M64: Final = 0xFFFF_FFFF_FFFF_FFFF
M32: Final = 0xFFFF_FFFF
TAIL_CALL: Final = 12
_PATIENCE: Final = 4
"""How often the facts of a block may grow step by step before everything that still changes counts as unknown."""


class Base(enums.Enum):
    """What an address belongs to."""

    FRAME = "frame"
    CONTEXT = "context"
    DATA = "data"


@dataclass(frozen=True, slots=True)
class Place:
    """``offset`` bytes from a base: the end of the frame, the start of the context or of data section ``name``."""

    base: Base
    offset: int = 0
    name: str = ""

    def moved(self, distance: int) -> Place:
        """The place ``distance`` bytes further."""
        return Place(self.base, self.offset + distance, self.name)


Known = int | Place
"""A register: below 2**n, or a place."""


@dataclass(slots=True)
class State:
    """``known``: r0 … r10. ``unset``: bit n is set while rn may not have been written."""

    known: list[Known]
    unset: int

    def copy(self) -> State:
        """An independent copy."""
        return State(self.known.copy(), self.unset)

    def bits(self, register: int) -> int:
        """An upper bound of the register's bits."""
        known = self.known[register]
        return known if isinstance(known, int) else 64

    def put(self, register: int, known: Known) -> None:
        """Note that a register was written."""
        self.known[register] = known
        self.unset &= ~(1 << register)

    def merge(self, other: State, impatient: bool) -> bool:
        """Make this hold for ``other`` too; whether it changed."""
        changed = other.unset & ~self.unset != 0
        self.unset |= other.unset
        for register, (mine, theirs) in enumerate(zip(self.known, other.known, strict=True)):
            if mine == theirs:
                continue
            places = isinstance(mine, Place) or isinstance(theirs, Place)
            both = 64 if places else max(self.bits(register), other.bits(register))
            if impatient and both != mine:
                both = 64
            if both != mine:
                self.known[register] = both
                changed = True
        return changed


@dataclass(slots=True)
class Calls:
    """What instructions refer to, by slot. ``arguments``: the registers that a call reads. ``places``: the data sections
    that ``ld_imm64`` points into."""

    arguments: dict[int, tuple[int, ...]] = field(default_factory=dict)
    places: dict[int, Place] = field(default_factory=dict)


def unsigned(insn: Insn) -> int:
    """The immediate as ALU64 takes it: sign-extended, as an unsigned number."""
    return insn.imm & M64


def reads(slot: int, insn: Insn, calls: Calls) -> tuple[int, ...]:
    """The registers that an instruction reads."""
    if insn.opcode == CALL:
        return calls.arguments.get(slot, ())
    source = (insn.src,) if insn.opcode & Source.X else ()
    match insn.cls:
        case Class.ALU | Class.ALU64:
            operation = insn.opcode & 0xF0
            if operation == Alu.MOV:
                return source
            return (insn.dst,) if operation in (Alu.NEG, Alu.END) else (insn.dst, *source)
        case Class.JMP | Class.JMP32:
            operation = insn.opcode & 0xF0
            if operation in (0x00, 0xE0):
                return ()
            return (0,) if operation == 0x90 else (insn.dst, *source)
        case Class.LDX:
            return (insn.src,)
        case Class.ST:
            return (insn.dst,)
        case Class.STX:
            if insn.opcode & 0xE0 == Mode.ATOMIC:
                if insn.imm == AtomicImm.LOAD_ACQUIRE:
                    return (insn.src,)
                if insn.imm == AtomicImm.CMPXCHG:
                    return (insn.dst, insn.src, 0)
            return (insn.dst, insn.src)
        case Class.LD:
            if insn.opcode == LD_IMM64:
                return ()
            return (6, insn.src) if insn.opcode & 0xE0 == Mode.IND else (6,)


def written(insn: Insn) -> tuple[int, ...]:
    """The registers that an instruction writes or destroys."""
    if insn.opcode == CALL:
        return (0, 1, 2, 3, 4, 5)
    match insn.cls:
        case Class.ALU | Class.ALU64 | Class.LDX:
            return (insn.dst,)
        case Class.LD:
            return (insn.dst,) if insn.opcode == LD_IMM64 else (0, 1, 2, 3, 4, 5)
        case Class.STX if insn.opcode & 0xE0 == Mode.ATOMIC:
            if insn.imm == AtomicImm.LOAD_ACQUIRE:
                return (insn.dst,)
            if insn.imm == AtomicImm.CMPXCHG:
                return (0,)
            return (insn.src,) if insn.imm & 1 else ()
        case _:
            return ()


def step(state: State, slot: int, insn: Insn, calls: Calls) -> None:
    """Change ``state`` as the instruction does."""
    match insn.cls:
        case Class.ALU64:
            state.put(insn.dst, _alu(state, insn))
        case Class.ALU:
            found = _alu(state, insn)
            swap = insn.opcode & 0xF0 == Alu.END  # the one of this class that goes up to 64 bits
            state.put(insn.dst, found if swap else min(found, 32) if isinstance(found, int) else 32)
        case Class.LDX:
            signed = insn.opcode & 0xE0 == Mode.MEMSX
            state.put(insn.dst, 64 if signed else _width(insn) * 8)
        case Class.LD if insn.opcode == LD_IMM64:
            state.put(insn.dst, calls.places.get(slot, insn.imm.bit_length() if not insn.src else 64))
        case Class.STX:
            for register in written(insn):
                state.put(register, _width(insn) * 8)
        case Class.LD:
            state.unset |= 0b111110
            state.put(0, 32)
        case Class.JMP if insn.opcode == CALL:
            state.unset |= 0b111110
            state.put(0, 64)
            if insn.src == CallKind.HELPER and insn.imm == TAIL_CALL:
                state.unset |= 1  # it is void
            elif insn.src == CallKind.SUBPROGRAM:
                state.unset |= 1  # it may be void
        case _:
            pass


def _width(insn: Insn) -> int:
    return {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}[insn.opcode & 0x18]


def _alu(state: State, insn: Insn) -> Known:
    """What dst holds after an ALU instruction; for ALU the caller cuts it to 32 bits."""
    wide = insn.cls is Class.ALU64
    by_register = bool(insn.opcode & Source.X)
    old = state.known[insn.dst]
    a = state.bits(insn.dst) if wide else min(state.bits(insn.dst), 32)
    constant = 0 if by_register else unsigned(insn) if wide else insn.imm & M32
    b = state.bits(insn.src) if by_register else constant.bit_length()
    if not wide:
        b = min(b, 32)
    top = 64 if wide else 32
    match Alu(insn.opcode & 0xF0):
        case Alu.MOV if by_register and insn.offset == 0:
            return state.known[insn.src] if wide else b
        case Alu.MOV:
            return b if not by_register or b < insn.offset else top
        case Alu.ADD if wide and isinstance(old, Place) and not by_register:
            return old.moved(insn.imm)
        case Alu.SUB if wide and isinstance(old, Place) and not by_register:
            return old.moved(-insn.imm)
        case Alu.ADD:
            return min(max(a, b) + 1, top)
        case Alu.MUL:
            return min(a + b, top)
        case Alu.DIV | Alu.MOD:
            return top if insn.offset else a
        case Alu.OR | Alu.XOR:
            return max(a, b)
        case Alu.AND:
            return min(a, b)
        case Alu.LSH:
            return top if by_register else min(a + (insn.imm & top - 1), top)
        case Alu.RSH:
            return a if by_register else max(a - (insn.imm & top - 1), 0)
        case Alu.ARSH:
            return top if a == top else a
        case Alu.END:
            swaps = insn.cls is Class.ALU64 or by_register
            return insn.imm if swaps else min(state.bits(insn.dst), insn.imm)
        case _:
            return top


@dataclass(slots=True)
class Facts:
    """``at_start``: of each block. ``unsafe``: registers that something may read before they were written; bit n is
    rn."""

    at_start: list[State]
    unsafe: int = 0


def facts_of(flow: Flow, entry: State, calls: Calls) -> Facts:
    """The facts of a function that starts in the state ``entry``."""
    states: list[State | None] = [None] * len(flow.blocks)
    states[0] = entry
    visits = [0] * len(flow.blocks)
    waiting = {0}
    while waiting:
        number = min(waiting)
        waiting.remove(number)
        state = states[number]
        assert state is not None
        after = _through(flow.blocks[number], state.copy(), calls)
        for successor in flow.blocks[number].successors:
            before = states[successor]
            if before is None:
                states[successor] = after.copy()
                waiting.add(successor)
                continue
            visits[successor] += 1
            if before.merge(after, visits[successor] > _PATIENCE * len(flow.predecessors[successor])):
                waiting.add(successor)
    facts = Facts([state for state in states if state is not None])
    for block, state in zip(flow.blocks, facts.at_start, strict=True):
        now = state.copy()
        for slot, insn in [*block.body, *([block.last] if block.last else [])]:
            for register in reads(slot, insn, calls):
                facts.unsafe |= now.unset & 1 << register
            step(now, slot, insn, calls)
    return facts


def _through(block: Block, state: State, calls: Calls) -> State:
    for slot, insn in block.body:
        step(state, slot, insn, calls)
    return state


def live_arguments(flow: Flow, calls: Calls) -> tuple[int, ...]:
    """Which of r1 … r5 a function may read before it writes them: its arguments."""
    live = [0] * len(flow.blocks)
    changed = True
    while changed:
        changed = False
        for number in reversed(range(len(flow.blocks))):
            block = flow.blocks[number]
            now = 0
            for successor in block.successors:
                now |= live[successor]
            for slot, insn in reversed([*block.body, *([block.last] if block.last else [])]):
                for register in written(insn):
                    now &= ~(1 << register)
                for register in reads(slot, insn, calls):
                    now |= 1 << register
            if now != live[number]:
                live[number] = now
                changed = True
    return tuple(register for register in range(1, 6) if live[0] >> register & 1)
