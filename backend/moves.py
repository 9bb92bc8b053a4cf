"""Parallel moves: several registers and frame slots change their contents at once, one instruction after the other.

``resolve`` orders them so that nothing is overwritten before it was read (the classical algorithm: a move whose
target nobody still reads can go; what remains is cycles, each opened by putting one value aside). A cycle goes
through a register that is free, else through a frame slot: never through exclusive-or, which the verifier refuses
on pointers. Between two slots a value goes through a register; if none is free, one is put aside for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from pyebpf.backend import insn as encoding
from pyebpf.backend.machine import FrameSlot, MachineInsn, Operand, PReg, Role
from pyebpf.diagnostics import Span
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass, replace

if TYPE_CHECKING:
    from typing import Final


SLOT_SIZE: Final = 8
_MOVE: Final = encoding.alu(encoding.Alu.MOV, encoding.Source.X)
_LOAD: Final = encoding.ldx(SLOT_SIZE)
_STORE: Final = encoding.stx(SLOT_SIZE)

Place = int | FrameSlot
"""A register by its number, or a slot of the frame."""

Source = int | FrameSlot | MachineInsn
"""Where a value is, or the instruction that makes it anew (its only operand is the result)."""


@dataclass(frozen=True, slots=True)
class Move:
    """``target`` receives what ``source`` held before all moves."""

    target: Place
    source: Source
    comment: str = ""


def move(target: int, source: int, span: Span | None = None, comment: str = "") -> MachineInsn:
    """``target = source``, 64 bits."""
    operands = (Operand(PReg(target), Role.DEF), Operand(PReg(source), Role.USE))
    return MachineInsn(_MOVE, operands, dst=0, src=1, move=True, span=span, comment=comment)


def load(target: int, slot: FrameSlot, span: Span | None = None, comment: str = "") -> MachineInsn:
    """``target = *(u64 *)(r10 + slot)``."""
    return MachineInsn(
        _LOAD, (Operand(PReg(target), Role.DEF),), dst=0, frame=slot, span=span, comment=comment or "reload"
    )


def store(slot: FrameSlot, source: int, span: Span | None = None, comment: str = "") -> MachineInsn:
    """``*(u64 *)(r10 + slot) = source``."""
    return MachineInsn(
        _STORE,
        (Operand(PReg(source), Role.USE),),
        src=0,
        frame=slot,
        frame_is_dst=True,
        span=span,
        comment=comment or "spill",
    )


def again(definition: MachineInsn, target: int, span: Span | None = None) -> MachineInsn:
    """``definition`` repeated with ``target`` as its result."""
    operand = replace(definition.operands[0], reg=PReg(target))
    return replace(definition, operands=(operand,), span=span or definition.span)


def resolve(
    moves: Sequence[Move], free: Collection[int], new_slot: Callable[[], FrameSlot], span: Span | None = None
) -> list[MachineInsn]:
    """Instructions that do all ``moves`` at once.

    ``free``: registers that may be changed. ``new_slot`` gives a slot for a value that has to be put aside. No two
    moves have the same target.
    """
    return _Resolver(moves, free, new_slot, span).run()


class _Resolver:
    """The state of one resolution."""

    def __init__(
        self,
        moves: Sequence[Move],
        free: Collection[int],
        new_slot: Callable[[], FrameSlot],
        span: Span | None,
    ) -> None:
        self.pending = {m.target: m for m in moves if m.target is not m.source and m.target != m.source}
        assert len({m.target for m in moves}) == len(moves), "two moves into one place"
        self.free = list(free)
        self.new_slot = new_slot
        self.span = span
        self.out: list[MachineInsn] = []

    def run(self) -> list[MachineInsn]:
        while self.pending:
            readers = self._readers()
            ready = [m for m in self.pending.values() if not readers.get(m.target)]
            if ready:
                self._emit(min(ready, key=_urgency))
            else:
                self._open_cycle()
        return self.out

    def _readers(self) -> dict[Place, int]:
        readers: dict[Place, int] = {}
        for pending in self.pending.values():
            if not isinstance(pending.source, MachineInsn):
                readers[pending.source] = readers.get(pending.source, 0) + 1
        return readers

    def _emit(self, ready: Move) -> None:
        target, source, span = ready.target, ready.source, self.span
        del self.pending[target]
        if isinstance(target, int):
            self.out.append(self._into(target, source, ready.comment))
            if isinstance(source, FrameSlot):  # who else wants that slot's value finds it in the register
                self._redirect(source, target)
        elif isinstance(source, int):
            self.out.append(store(target, source, span, ready.comment))
        else:
            register, slot = self._scratch()
            self.out.append(self._into(register, source, ready.comment))
            self.out.append(store(target, register, span, ready.comment))
            if slot is not None:
                self.out.append(load(register, slot, span))

    def _into(self, register: int, source: Source, comment: str) -> MachineInsn:
        match source:
            case int():
                return move(register, source, self.span, comment)
            case FrameSlot():
                return load(register, source, self.span, comment)
            case MachineInsn():
                return again(source, register, self.span)

    def _redirect(self, old: Place, new: Place) -> None:
        """Let the pending moves out of ``old`` read ``new`` instead, which holds the same now."""
        for target, pending in self.pending.items():
            if pending.source is old or pending.source == old:
                self.pending[target] = Move(target, new, pending.comment)

    def _scratch(self) -> tuple[int, FrameSlot | None]:
        """A register that may be changed now, and the slot to load it from afterwards if it had to be put aside."""
        read = {m.source for m in self.pending.values() if isinstance(m.source, int)}
        for register in self.free:
            if register not in read and register not in self.pending:
                return register, None
        for target in self.pending:
            if isinstance(target, int) and target not in read:
                return target, None
        register = min(set(range(10)) - set(self.free))
        slot = self.new_slot()
        self.out.append(store(slot, register, self.span))
        return register, slot

    def _open_cycle(self) -> None:
        """Put one register's value aside (there is one: cycles of slots alone go through it as well)."""
        registers = [t for t in self.pending if isinstance(t, int)]
        read = {m.source for m in self.pending.values() if isinstance(m.source, int)}
        aside: Place = next((r for r in self.free if r not in read and r not in self.pending), -1)
        if aside == -1:
            aside = self.new_slot()
        victim: Place = registers[0] if registers else next(iter(self.pending))
        self.pending[aside] = Move(aside, victim)
        self._emit(self.pending[aside])
        self._redirect(victim, aside)


def _urgency(pending: Move) -> int:
    """Stores first and new values last, so that registers come free early and are taken late."""
    if isinstance(pending.target, FrameSlot):
        return 0 if isinstance(pending.source, int) else 1
    return 2 if isinstance(pending.source, int) else 3
