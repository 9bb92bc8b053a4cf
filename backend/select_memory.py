"""Selection of operations on memory: loads, stores, block operations, atomics, pointer arithmetic.

Constant parts of an address go into the instruction's offset; the stack frame is addressed through r10
itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyebpf.backend import insn as isa
from pyebpf.backend.insn import Alu, AtomicImm
from pyebpf.backend.machine import FrameSlot, MachineInsn, Operand, Role, VReg
from pyebpf.backend.select_context import Selection, as_imm, fits_imm
from pyebpf.backend.select_facts import OFFSET_MAX, OFFSET_MIN, Address, addresses
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import ops
from pyebpf.ir.ops import AtomicOp
from pyebpf.ir.types import I32, PtrTy, Space
from pyebpf.records import dataclass
from pyebpf.target import Isa

if TYPE_CHECKING:
    from typing import Final


_WITHOUT_FRAME: Final = frozenset({Space.PACKET, Space.MAP_VALUE, Space.GLOBAL})
"""Memory that is never in a stack frame."""

_ATOMIC: Final = {
    AtomicOp.ADD: AtomicImm.ADD,
    AtomicOp.AND: AtomicImm.AND,
    AtomicOp.OR: AtomicImm.OR,
    AtomicOp.XOR: AtomicImm.XOR,
}


@dataclass(frozen=True, slots=True)
class _Place:
    """A memory operand as an instruction has it: an offset from ``base`` (r10 if there is none), and from
    the place of ``slot`` in the frame if there is one."""

    base: VReg | None
    slot: FrameSlot | None
    offset: int

    def at(self, distance: int) -> _Place:
        return _Place(self.base, self.slot, self.offset + distance)


def _place(sel: Selection, where: Address, size: int) -> _Place:
    match where.base:
        case ops.Alloca() as alloca:
            return _Place(None, sel.slot(alloca), where.offset)
        case ops.GlobalRef() as ref:
            reg, distance = sel.global_base(ref)
            offset = where.offset + distance
            if offset >= OFFSET_MIN and offset + size - 1 <= OFFSET_MAX:
                return _Place(reg, None, offset)
            return _Place(sel.reg(ref), None, where.offset)
        case base if base in sel.facts.stack_indexed:
            alloca, offset = sel.facts.stack_indexed[base]
            return _Place(sel.reg(base), sel.slot(alloca), where.offset + offset)
        case base:
            return _Place(sel.reg(base), None, where.offset)


def _load(sel: Selection, opcode: int, place: _Place) -> VReg:
    reg = sel.new()
    operands = [Operand(reg, Role.DEF)]
    if place.base is not None:
        operands.append(Operand(place.base, Role.USE))
    src = None if place.base is None else 1
    sel.append(MachineInsn(opcode, tuple(operands), dst=0, src=src, offset=place.offset, frame=place.slot))
    return reg


def _store(sel: Selection, opcode: int, place: _Place, value: VReg | None, imm: int = 0) -> None:
    """A store or atomic: ``value`` is its register, or ``imm`` the constant."""
    uses = [Operand(r, Role.USE) for r in (place.base, value) if r is not None]
    sel.append(
        MachineInsn(
            opcode,
            tuple(uses),
            dst=None if place.base is None else 0,
            src=None if value is None else len(uses) - 1,
            offset=place.offset,
            imm=imm,
            frame=place.slot,
            frame_is_dst=place.slot is not None,
        )
    )


def load(sel: Selection, op: ops.Load) -> VReg:
    """``Load``; below v4 the sign is extended by shifts."""
    (where,) = addresses(op)
    place = _place(sel, where, op.width)
    bits = op.width * 8
    if not op.signed or bits >= sel.bits(op):
        return _load(sel, isa.ldx(op.width), place)
    if sel.target.isa >= Isa.V4:
        return _load(sel, isa.ldx(op.width, signed=True), place)
    return sel.sign_extend(_load(sel, isa.ldx(op.width), place), bits, wide=op.type != I32)


def store(sel: Selection, op: ops.Store) -> None:
    """``Store``; a constant that fits is stored by one instruction, but not to a context: old kernels refuse
    that.
    """
    (where,) = addresses(op)
    place = _place(sel, where, op.width)
    bits = op.width * 8
    to_context = isinstance(op.pointer.type, PtrTy) and op.pointer.type.space is Space.CTX
    if isinstance(op.value, ops.Const) and fits_imm(op.value.value, bits) and not to_context:
        _store(sel, isa.st(op.width), place, None, as_imm(op.value.value, bits))
    else:
        _store(sel, isa.stx(op.width), place, sel.reg(op.value))


def _chunks(size: int, align: int) -> Iterator[tuple[int, int]]:
    """(distance, width) of the aligned accesses that cover ``size`` bytes, the widest ones possible."""
    at = 0
    while at < size:
        width = min(align, 8)
        while at + width > size or at % width:
            width //= 2
        yield at, width
        at += width


def zero(sel: Selection, op: ops.MemZero) -> None:
    """``MemZero``."""
    (where,) = addresses(op)
    place = _place(sel, where, op.size)
    for at, width in _chunks(op.size, op.align):
        _store(sel, isa.st(width), place.at(at), None)


def copy(sel: Selection, op: ops.MemCopy) -> None:
    """``MemCopy``: through registers."""
    to, come = addresses(op)
    if to == come:
        return
    target, source = _place(sel, to, op.size), _place(sel, come, op.size)
    for at, width in _chunks(op.size, op.align):
        _store(sel, isa.stx(width), target.at(at), _load(sel, isa.ldx(width), source.at(at)))


def atomic(sel: Selection, op: ops.Atomic) -> None:
    """``Atomic``."""
    (where,) = addresses(op)
    place = _place(sel, where, op.width)
    _store(sel, isa.atomic(op.width), place, sel.reg(op.value), _ATOMIC[op.op])


def pointer_add(sel: Selection, op: ops.PtrAdd) -> VReg:
    """``PtrAdd`` that is needed in a register."""
    if op in sel.facts.stack_indexed:
        return sel.add_frame_pointer(sel.reg(op.offset))
    match op.base, op.offset:
        case ops.Alloca() as alloca, ops.Const(value=offset) if fits_imm(offset):
            return sel.frame_address(alloca, as_imm(offset))
        case base, ops.Const(value=offset) if fits_imm(offset):
            return sel.alu_imm(Alu.ADD, sel.reg(base), as_imm(offset)) if offset else sel.reg(base)
        case base, offset_value:
            # ``offset + pointer`` saves a copy of a pointer that is needed further. Not for pointers that may be into
            # a frame, whose number the verifier would forget (``stack_indexed``).
            assert isinstance(base.type, PtrTy)
            commutes = base.type.space in _WITHOUT_FRAME
            return sel.alu(Alu.ADD, sel.reg(base), sel.reg(offset_value), commutes=commutes)
