"""From allocated machine IR to code: block order, jumps, and the places of symbols and source lines.

The order of blocks is ``block_order``'s; conditional jumps are turned round where that saves a jump. Jumps
reach 32767 slots; longer ones go through ``gotol`` (ISA v4) or through relays on the way.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyebpf.backend import insn as isa
from pyebpf.backend.block_order import block_order
from pyebpf.backend.insn import Alu, Insn, Jmp, Source
from pyebpf.backend.machine import (
    FRAME_POINTER,
    CoreSymbol,
    FrameSlot,
    MachineBlock,
    MachineFunction,
    MachineInsn,
    PReg,
)
from pyebpf.diagnostics import InternalError, Span
from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import Relocation
from pyebpf.records import dataclass
from pyebpf.target import Isa, Target

if TYPE_CHECKING:
    from typing import Final


_REACH: Final = (1 << 15) - 1
# A relay is put this far on the way, so that other relays that come between do not push it out of reach.
_RELAY_DISTANCE: Final = 30_000

# Control never goes from these to the next instruction, which must then be a jump's target.
_NO_FALL: Final = frozenset({isa.GOTO, isa.GOTOL, isa.EXIT})

_INVERSE: Final = {
    Jmp.JEQ: Jmp.JNE,
    Jmp.JNE: Jmp.JEQ,
    Jmp.JGT: Jmp.JLE,
    Jmp.JLE: Jmp.JGT,
    Jmp.JGE: Jmp.JLT,
    Jmp.JLT: Jmp.JGE,
    Jmp.JSGT: Jmp.JSLE,
    Jmp.JSLE: Jmp.JSGT,
    Jmp.JSGE: Jmp.JSLT,
    Jmp.JSLT: Jmp.JSGE,
}
# The jumps that ISA v1 lacks, by the jump that does the same with its registers exchanged.
_EXCHANGED: Final = {Jmp.JLE: Jmp.JGE, Jmp.JLT: Jmp.JGT, Jmp.JSLE: Jmp.JSGE, Jmp.JSLT: Jmp.JSGT}


@dataclass(frozen=True, slots=True)
class Code:
    """The instructions of one function, with what refers out of it and where each instruction came from.

    ``spans`` is parallel to ``insns``; ``relocations`` and ``core`` (the CO-RE relocations) count slots.
    """

    insns: tuple[Insn, ...]
    spans: tuple[Span | None, ...]
    relocations: tuple[Relocation, ...]
    core: tuple[tuple[int, CoreSymbol], ...] = ()

    @property
    def slots(self) -> int:
        """The size in slots of 8 bytes."""
        return sum(i.slots for i in self.insns)


class _Label:
    """A place in the code that jumps go to."""

    __slots__ = ()


@dataclass(eq=False, slots=True)
class _Line:
    """One instruction of the code under construction; ``target`` is where its jump goes."""

    insn: Insn
    source: MachineInsn | None = None
    target: _Label | None = None
    span: Span | None = None


def emit(function: MachineFunction, target: Target) -> Code:
    """The code of an allocated function whose frame is laid out.

    Raises ``InternalError`` if a virtual register or a slot without place is left.
    """
    assembly = _Assembly(function, target)
    order = block_order(function)
    for block, following in zip(order, [*order[1:], None], strict=True):
        assembly.block(block, following)
    assembly.reach()
    return assembly.finish()


def inverse(jump: MachineInsn, target: Target) -> tuple[int, bool] | None:
    """How to jump where ``jump`` does not: the opcode, and whether to exchange the registers; or ``None``.

    Bit tests cannot be inverted, and in ISA v1 comparisons with constants cannot.
    """
    operation = _INVERSE.get(Jmp(jump.opcode & 0xF0))
    if operation is None:
        return None
    rest = jump.opcode & 0x0F
    if target.isa < Isa.V2 and operation in _EXCHANGED:
        return (_EXCHANGED[operation] | rest, True) if rest & Source.X else None
    return operation | rest, False


# ---------------------------------------------------------------- code


class _Assembly:
    def __init__(self, function: MachineFunction, target: Target) -> None:
        self.function = function
        self.target = target
        self.lines: list[_Line] = []
        self.labels = {block: _Label() for block in function.blocks}
        # Where each label stands: before the line with this index.
        self.places: dict[_Label, int] = {}

    def block(self, block: MachineBlock, following: MachineBlock | None) -> None:
        """Append ``block``; control can fall from it to ``following``."""
        self.places[self.labels[block]] = len(self.lines)
        body = block.insns if len(block.edges) < 2 else block.insns[:-1]
        for source in body:
            for insn in self.encode(source):
                self.lines.append(_Line(insn, source, span=source.span))
        last = block.insns[-1] if block.insns else None
        if len(block.edges) == 2 and last is not None:
            self.conditional(last, block.edges[0].target, block.edges[1].target, following)
        elif len(block.edges) == 1 and block.edges[0].target is not following:
            self.goto(block.edges[0].target, last)

    def conditional(
        self, jump: MachineInsn, taken: MachineBlock, falls: MachineBlock, following: MachineBlock | None
    ) -> None:
        """``jump`` to ``taken``, else to ``falls``."""
        (insn,) = self.encode(jump)
        turned = inverse(jump, self.target) if taken is following else None
        if turned is not None:
            opcode, exchange = turned
            dst, src = (insn.src, insn.dst) if exchange else (insn.dst, insn.src)
            insn, taken, falls = Insn(opcode, dst, src, 0, insn.imm), falls, taken
        self.lines.append(_Line(insn, jump, self.labels[taken], jump.span))
        if falls is not following:
            self.goto(falls, jump)

    def goto(self, block: MachineBlock, after: MachineInsn | None) -> None:
        """An unconditional jump; an exit, where it would go to one."""
        span = after.span if after else None
        if len(block.insns) == 1 and block.insns[0].opcode == isa.EXIT:
            self.lines.append(_Line(Insn(isa.EXIT), block.insns[0], span=span))
            return
        self.lines.append(_Line(Insn(isa.GOTO), None, self.labels[block], span))

    def error(self, message: str, span: Span | None) -> InternalError:
        return InternalError(message, phase="emit", function=self.function.name, span=span)

    def encode(self, source: MachineInsn) -> Iterator[Insn]:
        """The instructions of one machine instruction: one, but for a frame address."""

        def number(index: int | None) -> int | None:
            if index is None:
                return None
            reg = source.operands[index].reg
            if not isinstance(reg, PReg):
                raise self.error(f"register {reg} was not allocated", source.span)
            return reg.number

        dst, src = number(source.dst), number(source.src)
        offset, imm = source.offset, source.imm
        if source.frame is not None:
            place = self.place(source.frame, source.span)
            if source.opcode == isa.alu(Alu.ADD, Source.K):
                assert dst is not None
                yield Insn(isa.alu(Alu.MOV, Source.X), dst, FRAME_POINTER)
                if place + imm:
                    yield Insn(source.opcode, dst, 0, 0, place + imm)
                return
            offset += place
            if source.frame_is_dst:
                dst = FRAME_POINTER if dst is None else dst
            else:
                src = FRAME_POINTER if src is None else src
        yield Insn(source.opcode, dst or 0, source.src_field if src is None else src, offset, imm)

    def place(self, slot: FrameSlot, span: Span | None) -> int:
        """The offset of ``slot`` from r10."""
        if slot.offset is None:
            raise self.error(f"frame slot {slot.label!r} has no place", span)
        return slot.offset

    # ------------------------------------------------------------ long jumps

    def slots(self) -> list[int]:
        """The slot of each line, and the slot after the last."""
        at, found = 0, [0]
        for line in self.lines:
            at += line.insn.slots
            found.append(at)
        return found

    def insert(self, index: int, lines: list[_Line]) -> None:
        """Insert before the line ``index``; labels there move behind what is inserted."""
        self.lines[index:index] = lines
        for label, place in self.places.items():
            if place >= index:
                self.places[label] = place + len(lines)

    def reach(self) -> None:
        """Make every jump reach its target."""
        while (index := self.out_of_reach()) is not None:
            line = self.lines[index]
            if line.insn.opcode != isa.GOTO:
                self.split_conditional(index)
            elif self.target.isa >= Isa.V4:
                line.insn = Insn(isa.GOTOL)
            else:
                self.relay(index)

    def out_of_reach(self) -> int | None:
        if len(self.lines) * 2 <= _REACH:
            return None
        slots = self.slots()
        for index, line in enumerate(self.lines):
            if line.target is not None and line.insn.opcode != isa.GOTOL:
                distance = slots[self.places[line.target]] - slots[index] - 1
                if not -_REACH <= distance <= _REACH:
                    return index
        return None

    def split_conditional(self, index: int) -> None:
        """``if c goto far`` becomes ``if c goto A; goto B; A: goto far; B:``."""
        line = self.lines[index]
        far, near, after = line.target, _Label(), _Label()
        line.target = near
        skip, jump = Insn(isa.GOTO), Insn(isa.GOTO)
        self.insert(
            index + 1, [_Line(skip, target=after, span=line.span), _Line(jump, target=far, span=line.span)]
        )
        self.places[near], self.places[after] = index + 2, index + 3

    def relay(self, index: int) -> None:
        """Let the ``goto`` at ``index`` jump to another one on its way, around which other control jumps."""
        line = self.lines[index]
        assert line.target is not None
        slots = self.slots()
        forward = self.places[line.target] > index
        wanted = slots[index] + (_RELAY_DISTANCE if forward else -_RELAY_DISTANCE)
        at = next(i for i, slot in enumerate(slots) if slot >= wanted)
        far, here, after = line.target, _Label(), _Label()
        line.target = here
        relay = _Line(Insn(isa.GOTO), target=far, span=line.span)
        if self.lines[at - 1].insn.opcode in _NO_FALL:
            self.insert(at, [relay])
            self.places[here] = at
        else:
            self.insert(at, [_Line(Insn(isa.GOTO), target=after, span=line.span), relay])
            self.places[here], self.places[after] = at + 1, at + 2

    # ------------------------------------------------------------ result

    def finish(self) -> Code:
        """Fill the jumps in and collect the relocations."""
        slots = self.slots()
        insns: list[Insn] = []
        relocations: list[Relocation] = []
        core: list[tuple[int, CoreSymbol]] = []
        for line, slot in zip(self.lines, slots, strict=False):
            insn = line.insn
            if line.target is not None:
                distance = slots[self.places[line.target]] - slot - 1
                long = insn.opcode == isa.GOTOL
                insn = Insn(
                    insn.opcode, insn.dst, insn.src, 0 if long else distance, distance if long else insn.imm
                )
            symbol = line.source.symbol if line.source is not None else None
            if isinstance(symbol, CoreSymbol):
                core.append((slot, symbol))
            elif symbol is not None:
                relocations.append(Relocation(slot, symbol.kind, symbol.name, symbol.section, symbol.addend))
            insns.append(insn)
        return Code(tuple(insns), tuple(line.span for line in self.lines), tuple(relocations), tuple(core))
