"""Functions without a result must not leave a pointer to the stack in r0.

The verifier reads r0 where any function ends: what was left there by chance is taken for a result, and "cannot return stack
pointer to the caller" (``prepare_func_exit`` in kernel/bpf/verifier.c). So where r0 may hold one, it is set to 0.
"""

from __future__ import annotations

from pyebpf.backend import insn as isa
from pyebpf.backend.insn import Alu, Class, Source
from pyebpf.backend.machine import (
    FRAME_POINTER,
    MachineBlock,
    MachineFunction,
    MachineInsn,
    Operand,
    PReg,
    Role,
)
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir.types import VOID

if TYPE_CHECKING:
    from typing import Final


_ARGUMENTS: Final = 0b111110
"""r1 to r5: any of them may point to a caller's frame."""
_FRAME: Final = 1 << FRAME_POINTER


def clear_results(function: MachineFunction) -> None:
    """Set r0 to 0 at each exit of an allocated function without a result where it may point to the stack."""
    if function.source.result != VOID:
        return
    held = dict.fromkeys(function.blocks, 0)
    held[function.blocks[0]] = _ARGUMENTS
    work = list(function.blocks)
    while work:
        block = work.pop()
        after = _after(block, held[block])
        for edge in block.edges:
            if after & ~held[edge.target]:
                held[edge.target] |= after
                work.append(edge.target)
    for block in function.blocks:
        if block.insns and block.insns[-1].opcode == isa.EXIT and _after(block, held[block]) & 1:
            result = (Operand(PReg(0), Role.DEF),)
            zero = MachineInsn(isa.alu(Alu.MOV, Source.K), result, dst=0, span=block.insns[-1].span)
            block.insns.insert(-1, zero)


def _after(block: MachineBlock, held: int) -> int:
    """The registers that may hold a pointer to the stack behind ``block``, as bits."""
    for insn in block.insns:
        pointer = _gives_pointer(insn, held)
        for number in insn.clobbers:
            held &= ~(1 << number)
        for operand in insn.defs():
            assert isinstance(operand.reg, PReg), "before register allocation"
            bit = 1 << operand.reg.number
            held = held | bit if pointer else held & ~bit
    return held


def _gives_pointer(insn: MachineInsn, held: int) -> bool:
    """Whether what ``insn`` computes may point to the stack, given the registers that do."""
    match insn.opcode & 7:
        case Class.ALU64:
            if insn.frame is not None:
                return True
            used = sum(
                1 << o.reg.number for o in insn.operands if o.role is Role.USE and isinstance(o.reg, PReg)
            )
            if insn.opcode & 0xF0 == Alu.MOV and not insn.opcode & Source.X:
                return False
            return bool(used & (held | _FRAME))
        case Class.LDX:
            return insn.opcode & 0x18 == isa.Size.DW  # a pointer that was spilled
        case _:
            return False
