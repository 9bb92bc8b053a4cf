"""Selection of comparisons, branches, calls and returns.

A comparison is one conditional jump on the very registers that are used afterwards, as the verifier learns
ranges from it; only a comparison whose truth value is stored or computed with is made into 0 or 1.
"""

from __future__ import annotations

from pyebpf.backend import insn as isa
from pyebpf.backend.insn import Alu, CallKind, Jmp, Source
from pyebpf.backend.machine import (
    CALL_CLOBBERED,
    MAX_ARGUMENTS,
    Edge,
    MachineBlock,
    MachineInsn,
    Operand,
    Role,
    Symbol,
    VReg,
)
from pyebpf.backend.select_context import Selection, as_imm, fits_imm
from pyebpf.backend.select_facts import signed
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import ops
from pyebpf.ir.ops import Pred, Value
from pyebpf.ir.types import I32
from pyebpf.object import RelocKind
from pyebpf.records import dataclass
from pyebpf.target import Isa

if TYPE_CHECKING:
    from typing import Final


_JUMPS: Final = {
    Pred.EQ: Jmp.JEQ,
    Pred.NE: Jmp.JNE,
    Pred.ULT: Jmp.JLT,
    Pred.ULE: Jmp.JLE,
    Pred.UGT: Jmp.JGT,
    Pred.UGE: Jmp.JGE,
    Pred.SLT: Jmp.JSLT,
    Pred.SLE: Jmp.JSLE,
    Pred.SGT: Jmp.JSGT,
    Pred.SGE: Jmp.JSGE,
    Pred.TEST: Jmp.JSET,
}
_SWAPPED: Final = {
    Pred.ULT: Pred.UGT,
    Pred.ULE: Pred.UGE,
    Pred.UGT: Pred.ULT,
    Pred.UGE: Pred.ULE,
    Pred.SLT: Pred.SGT,
    Pred.SLE: Pred.SGE,
    Pred.SGT: Pred.SLT,
    Pred.SGE: Pred.SLE,
}
# What is left to do where ISA v1 lacks the jump: the opposite, to the other block.
_OPPOSITE_IN_V1: Final = {
    Pred.ULT: Pred.UGE,
    Pred.ULE: Pred.UGT,
    Pred.SLT: Pred.SGE,
    Pred.SLE: Pred.SGT,
}
_SIGNED: Final = frozenset({Pred.SLT, Pred.SLE, Pred.SGT, Pred.SGE})


@dataclass(frozen=True, slots=True)
class Condition:
    """A conditional jump; ``inverted``: it is taken where the comparison is false."""

    jump: MachineInsn
    inverted: bool


def condition(sel: Selection, pred: Pred, left: Value, right: Value) -> Condition:
    """The jump that tests ``left pred right``; what it compares is loaded first, the jump itself not
    appended.
    """
    if isinstance(left, ops.Const) and not isinstance(right, ops.Const):
        left, right, pred = right, left, _SWAPPED.get(pred, pred)
    if isinstance(right, ops.Const):
        return _with_constant(sel, pred, left, right.value)
    a, b = sel.reg(left), sel.reg(right)
    if left.type == I32 and not sel.alu32 and pred in _SIGNED:
        a, b = sel.sign_extend(a, 32), sel.sign_extend(b, 32)
    if sel.target.isa < Isa.V2 and pred in _OPPOSITE_IN_V1:
        a, b, pred = b, a, _SWAPPED[pred]
    return Condition(_jump(pred, a, b, not sel.narrow(left)), False)


def _with_constant(sel: Selection, pred: Pred, left: Value, number: int) -> Condition:
    wide = not sel.narrow(left)
    reg = sel.reg(left)
    bits = 64 if wide else 32
    if left.type == I32 and wide:
        # Below v3 an i32 is zero-extended; signed numbers are compared as 64-bit ones.
        if pred in _SIGNED:
            reg, number = sel.sign_extend(reg, 32), signed(number, 32) & (1 << 64) - 1
    elif wide and sel.alu32 and number < 1 << 32 and not fits_imm(number):
        # A 32-bit jump takes the constant as it is, where the upper half has no say.
        low = pred is Pred.TEST or (pred not in _SIGNED and sel.facts.bound[left] <= 32)
        wide, bits = not low, 32 if low else 64
    if not fits_imm(number, bits):
        constant = sel.reg(ops.const(number))
        if sel.target.isa < Isa.V2 and pred in _OPPOSITE_IN_V1:
            return Condition(_jump(_SWAPPED[pred], constant, reg, wide), False)
        return Condition(_jump(pred, reg, constant, wide), False)
    inverted = sel.target.isa < Isa.V2 and pred in _OPPOSITE_IN_V1
    if inverted:
        pred = _OPPOSITE_IN_V1[pred]
    opcode = isa.jump(_JUMPS[pred], Source.K, wide=wide)
    return Condition(
        MachineInsn(opcode, (Operand(reg, Role.USE),), dst=0, imm=as_imm(number, bits)), inverted
    )


def _jump(pred: Pred, left: VReg, right: VReg, wide: bool) -> MachineInsn:
    operands = (Operand(left, Role.USE), Operand(right, Role.USE))
    return MachineInsn(isa.jump(_JUMPS[pred], Source.X, wide=wide), operands, dst=0, src=1)


def branch(sel: Selection, test: Condition, then: MachineBlock, otherwise: MachineBlock) -> None:
    """End the block with ``test``."""
    sel.append(test.jump)
    edges = (Edge(otherwise), Edge(then)) if test.inverted else (Edge(then), Edge(otherwise))
    sel.block.edges = edges


def compare(sel: Selection, op: ops.Cmp) -> VReg:
    """``Cmp`` as a number: by arithmetic where one or two instructions do, else by a branch around a
    constant.
    """
    arithmetic = _compare_by_arithmetic(sel, op)
    if arithmetic is not None:
        return arithmetic
    test = condition(sel, op.pred, op.left, op.right)
    stem = sel.block.name
    true, false, join = (sel.new_block(f"{stem}.{what}") for what in ("true", "false", "set"))
    branch(sel, test, true, false)
    for block, truth in ((true, 1), (false, 0)):
        sel.enter(block, keep_leaves=True)
        sel.goto(join, (sel.constant(truth),))
    sel.enter(join, keep_leaves=True)
    result = sel.new()
    join.params = (result,)
    return result


def _compare_by_arithmetic(sel: Selection, op: ops.Cmp) -> VReg | None:
    if not isinstance(op.right, ops.Const):
        return None
    bits, number = sel.bits(op.left), op.right.value
    wide = not sel.narrow(op.left)
    match op.pred:
        case Pred.SLT if number == 0:
            return sel.alu_imm(Alu.RSH, sel.reg(op.left), bits - 1, wide=wide)
        case Pred.NE if number == 0 and sel.facts.known[op.left] <= 1:
            return sel.reg(op.left)
        case Pred.EQ if number == 0 and sel.facts.known[op.left] <= 1:
            return sel.alu_imm(Alu.XOR, sel.reg(op.left), 1)
        case Pred.TEST if number.bit_count() == 1:
            place = number.bit_length() - 1
            reg = sel.reg(op.left)
            moved = sel.alu_imm(Alu.RSH, reg, place, wide=wide) if place else reg
            return moved if place == bits - 1 else sel.alu_imm(Alu.AND, moved, 1)
        case _:
            return None


# ---------------------------------------------------------------- calls


def _call(sel: Selection, op: ops.CallHelper | ops.CallKfunc | ops.Call, call: MachineInsn) -> VReg | None:
    """Append ``call`` with the arguments of ``op`` in r1 to r5; the result, if somebody reads it, comes from
    r0.
    """
    operands: list[Operand] = []
    used: set[VReg] = set()
    if len(op.args) > MAX_ARGUMENTS:
        raise sel.error(f"a call with {len(op.args)} arguments")
    result = None
    if op in sel.facts.needed:
        result = sel.new()
        operands.append(Operand(result, Role.DEF, fixed=0))
    for number, arg in enumerate(op.args, 1):
        reg = sel.clean(arg)
        if reg in used:
            reg = sel.copy(reg)
        used.add(reg)
        operands.append(Operand(reg, Role.USE, fixed=number))
    call.operands = tuple(operands)
    call.clobbers = CALL_CLOBBERED
    sel.append(call)
    return result


def call_helper(sel: Selection, op: ops.CallHelper) -> VReg | None:
    """``CallHelper``."""
    return _call(sel, op, MachineInsn(isa.CALL, src_field=CallKind.HELPER, imm=op.helper))


def call_kfunc(sel: Selection, op: ops.CallKfunc) -> VReg | None:
    """``CallKfunc``: the loader makes it a call of the kernel's function."""
    symbol = Symbol(RelocKind.KFUNC, op.kfunc)
    return _call(sel, op, MachineInsn(isa.CALL, src_field=CallKind.SUBPROGRAM, imm=-1, symbol=symbol))


def call(sel: Selection, op: ops.Call) -> VReg | None:
    """``Call``."""
    symbol = Symbol(RelocKind.CALL, op.function)
    return _call(sel, op, MachineInsn(isa.CALL, src_field=CallKind.SUBPROGRAM, imm=-1, symbol=symbol))


def leave(sel: Selection, result: VReg | None) -> None:
    """``exit``, with the result in r0."""
    operands = () if result is None else (Operand(result, Role.USE, fixed=0),)
    sel.append(MachineInsn(isa.EXIT, operands))
