"""Selection of accesses to the kernel's own structs: their offsets are numbers that CO-RE relocations correct."""

from __future__ import annotations

from pyebpf.backend import insn as isa
from pyebpf.backend.insn import Alu, Source
from pyebpf.backend.machine import CoreSymbol, MachineInsn, Operand, Role, VReg
from pyebpf.backend.select_context import Selection
from pyebpf.btf.access import CoreKind
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import ops
from pyebpf.target import Isa

if TYPE_CHECKING:
    from typing import Final


_OFFSET_MAX: Final = (1 << 15) - 1


def _symbol(root: str, access: str) -> CoreSymbol | None:
    return CoreSymbol(CoreKind.FIELD_BYTE_OFFSET, root, access) if root else None


def _add(sel: Selection, base: VReg, root: str, access: str, offset: int) -> VReg:
    return sel.unary(isa.alu(Alu.ADD, Source.K), base, offset, symbol=_symbol(root, access))


def address(sel: Selection, op: ops.CoreAddress) -> VReg:
    """``CoreAddress``: an addition, whose number loaders correct."""
    if not op.root and not op.offset:
        return sel.reg(op.base)
    return _add(sel, sel.reg(op.base), op.root, op.access, op.offset)


def load(sel: Selection, op: ops.KernelLoad) -> VReg:
    """``KernelLoad``; offsets that the instruction has no room for are added first."""
    base, offset, symbol = sel.reg(op.pointer), op.offset, _symbol(op.root, op.access)
    if offset > _OFFSET_MAX:
        base, offset, symbol = _add(sel, base, op.root, op.access, offset), 0, None
    bits = op.width * 8
    extends = op.signed and bits < sel.bits(op)
    reg = sel.new()
    # The kernel refuses sign-extending loads through such pointers before 6.7; shifts do on all.
    operands = (Operand(reg, Role.DEF), Operand(base, Role.USE))
    sel.append(MachineInsn(isa.ldx(op.width), operands, dst=0, src=1, offset=offset, symbol=symbol))
    if not extends:
        return reg
    if sel.target.isa >= Isa.V4:
        return sel.transfer(isa.alu(Alu.MOV, Source.X), reg, bits)
    return sel.sign_extend(reg, bits)
