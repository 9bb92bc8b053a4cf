"""The state of instruction selection in one function, and the instructions that it appends: a ``Selection``.

The lowering modules (``select_arithmetic``, ``select_memory``, ``select_control``) are functions over it.
What a register holds: an i64 or pointer as it is; an i1 as 0 or 1; an i32 in the low half. From ISA v3 on the
upper half may be garbage (``Facts`` knows when it is not), as 32-bit instructions do not read it; below v3,
where only 64-bit instructions are used, it is always zero.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyebpf.backend import insn as isa
from pyebpf.backend.insn import Alu, Source
from pyebpf.backend.machine import (
    FRAME_POINTER,
    CoreSymbol,
    Edge,
    FrameSlot,
    MachineBlock,
    MachineFunction,
    MachineInsn,
    Operand,
    Role,
    Symbol,
    VReg,
)
from pyebpf.backend.select_facts import LEAVES, Facts, signed
from pyebpf.btf.access import CoreKind
from pyebpf.diagnostics import InternalError, Span
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import ops
from pyebpf.ir.ops import Function, Module, Value
from pyebpf.ir.types import I32, IntTy
from pyebpf.object import RelocKind, Variable
from pyebpf.target import Isa, Target

if TYPE_CHECKING:
    from typing import Final


COMMUTATIVE: Final = frozenset({Alu.ADD, Alu.MUL, Alu.AND, Alu.OR, Alu.XOR})


def fits_imm(value: int, bits: int = 64) -> bool:
    """Whether the integer can be the imm of an instruction on ``bits`` bits (64: imm is sign-extended)."""
    return bits <= 32 or -(1 << 31) <= signed(value, bits) < 1 << 31


def as_imm(value: int, bits: int = 64) -> int:
    """The imm field for the integer ``value`` of ``bits`` bits."""
    return signed(value, min(bits, 32) if bits <= 32 else 64)


class Selection:
    """Appends instructions to ``block``; ``regs`` maps the values selected so far to their registers.

    ``span`` and ``name`` go into the instructions and registers made next.
    """

    def __init__(self, function: Function, module: Module, target: Target) -> None:
        self.function = function
        self.module = module
        self.target = target
        self.facts = Facts(function, module, target)
        self.machine = MachineFunction(function.name, (), [], function)
        self.regs: dict[Value, VReg] = {}
        self.block = MachineBlock("entry")
        self.span: Span | None = None
        self.name = ""
        self._leaves: dict[Value | int, VReg] = {}
        self._anchors: dict[str, tuple[VReg, int]] = {}
        self._slots: dict[ops.Alloca, FrameSlot] = {}
        self._names: dict[str, int] = {}

    @property
    def alu32(self) -> bool:
        """Whether 32-bit operations are done by 32-bit instructions."""
        return self.target.isa >= Isa.V3

    def error(self, message: str) -> InternalError:
        """The exception for something that no correct SSA contains."""
        return InternalError(message, phase="select", function=self.function.name, span=self.span)

    # ------------------------------------------------------------ blocks

    def new_block(self, name: str, *, unlikely: bool = False) -> MachineBlock:
        """A machine block, named ``name`` or ``name.N`` if that is taken. It is put into the function by
        ``enter``.
        """
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return MachineBlock(f"{name}.{count}" if count else name, unlikely=unlikely)

    def enter(self, block: MachineBlock, *, keep_leaves: bool = False) -> None:
        """Put ``block`` at the end of the function and append to it from now on.

        Constants are made anew in each block, unless it only continues the last (``keep_leaves``).
        """
        self.block = block
        self.machine.blocks.append(block)
        if not keep_leaves:
            self._leaves.clear()

    def goto(self, target: MachineBlock, args: Sequence[VReg] = ()) -> None:
        """End the block with an unconditional transfer."""
        self.block.edges = (Edge(target, tuple(args)),)

    # ------------------------------------------------------------ registers

    def new(self) -> VReg:
        """A fresh register with the current name hint."""
        return self.machine.new_vreg(self.name)

    def define(self, op: Value, reg: VReg) -> None:
        """``reg`` holds the result of ``op``."""
        self.regs[op] = reg

    def reg(self, value: Value) -> VReg:
        """The register of ``value``; a leaf is made at its first use in the block."""
        if not isinstance(value, LEAVES):
            found = self.regs.get(value)
            if found is None:
                raise self.error(f"a value of type {value.type} is used before its definition")
            return found
        key = value.value if isinstance(value, ops.Const) else value
        if key not in self._leaves:
            self._leaves[key] = self.fresh(value)
        return self._leaves[key]

    def fresh(self, value: Value) -> VReg:
        """As ``reg``, but a leaf gets a register of its own: for arguments, which must be in a certain one
        anyway.
        """
        match value:
            case ops.Const(value=number):
                return self.constant(number)
            case ops.Undef():
                return self.constant(0)
            case ops.Alloca():
                return self.frame_address(value, 0)
            case ops.MapRef(map=name):
                return self.symbol(Symbol(RelocKind.MAP, name))
            case ops.GlobalRef(section=section, variable=variable):
                return self.symbol(Symbol(RelocKind.DATA, variable, section))
            case ops.FuncRef(function=name):
                return self.symbol(Symbol(RelocKind.FUNC, name))
            case ops.ExternRef(extern=name):
                return self.symbol(Symbol(RelocKind.EXTERN, name))
            case ops.CoreValue(kind=kind, root=root, access=access, value=number):
                return self._core(number, CoreSymbol(CoreKind(kind), root, access))
            case _:
                return self.reg(value)

    def global_base(self, ref: ops.GlobalRef) -> tuple[VReg, int]:
        """A register that points into the section of ``ref``, and the distance from there to the variable in
        bytes.

        All variables of a section are one map value, so that one address does for all accesses in the
        function.
        """
        variable = self._variable(ref.section, ref.variable)
        anchor = self._anchors.get(ref.section)
        if anchor is None:
            anchor = self._anchors[ref.section] = (self.fresh(ref), variable.offset)
        return anchor[0], variable.offset - anchor[1]

    def _variable(self, section: str, name: str) -> Variable:
        found = self.module.data[section].variable(name)
        if found is None:
            raise self.error(f"section {section} has no variable {name}")
        return found

    def clean(self, value: Value) -> VReg:
        """As ``fresh``, with the upper half zero if ``value`` is an i32: what calls and returns take."""
        reg = self.fresh(value)
        return self.zero_upper(reg) if value.type == I32 and self.facts.known[value] > 32 else reg

    # ------------------------------------------------------------ instructions

    def append(self, instruction: MachineInsn) -> None:
        """Append with the current span."""
        instruction.span = self.span
        self.block.insns.append(instruction)

    def _leaf(
        self, opcode: int, imm: int, symbol: Symbol | CoreSymbol | None = None, slot: FrameSlot | None = None
    ) -> VReg:
        reg = self.new()
        target = (Operand(reg, Role.DEF),)
        self.append(MachineInsn(opcode, target, dst=0, imm=imm, symbol=symbol, frame=slot, remat=True))
        return reg

    def constant(self, value: int) -> VReg:
        """The unsigned 64-bit number ``value`` by the shortest instruction."""
        if fits_imm(value):
            return self._leaf(isa.alu(Alu.MOV, Source.K), as_imm(value))
        if value < 1 << 32 and self.alu32:
            return self._leaf(isa.alu(Alu.MOV, Source.K, wide=False), as_imm(value, 32))
        return self._leaf(isa.LD_IMM64, value)

    def symbol(self, symbol: Symbol) -> VReg:
        """What ``symbol`` stands for, put in by a relocation."""
        return self._leaf(isa.LD_IMM64, 0, symbol)

    def _core(self, value: int, symbol: CoreSymbol) -> VReg:
        """The number ``value``, which loaders change; large ones need room for 64 bits."""
        value &= (1 << 64) - 1
        short = symbol.kind is not CoreKind.ENUMVAL_VALUE
        if short and not fits_imm(value):
            raise self.error(f"{value} does not fit into an instruction")
        if short:
            return self._leaf(isa.alu(Alu.MOV, Source.K), as_imm(value), symbol)
        return self._leaf(isa.LD_IMM64, value, symbol)

    def slot(self, alloca: ops.Alloca) -> FrameSlot:
        """The frame slot of ``alloca``; one that nobody asks for takes no space."""
        if alloca not in self._slots:
            slot = FrameSlot(alloca.size, alloca.align, alloca.label or alloca.name, span=alloca.span)
            self._slots[alloca] = slot
            self.machine.slots.append(slot)
        return self._slots[alloca]

    def frame_address(self, alloca: ops.Alloca, offset: int) -> VReg:
        """The address ``offset`` bytes into ``alloca``: one instruction here, ``mov`` and ``add`` when
        emitted.
        """
        return self._leaf(isa.alu(Alu.ADD, Source.K), offset, slot=self.slot(alloca))

    def add_frame_pointer(self, index: VReg) -> VReg:
        """``index + r10``: a pointer into the frame whose constant part is in the offsets of its accesses."""
        reg = self.new()
        operands = (Operand(reg, Role.DEF, reuse=1), Operand(index, Role.USE))
        opcode = isa.alu(Alu.ADD, Source.X)
        self.append(MachineInsn(opcode, operands, dst=0, src_field=FRAME_POINTER))
        return reg

    def copy(self, source: VReg) -> VReg:
        """A full copy, which the allocator coalesces away where it can."""
        reg = self.new()
        operands = (Operand(reg, Role.DEF), Operand(source, Role.USE))
        self.append(MachineInsn(isa.alu(Alu.MOV, Source.X), operands, dst=0, src=1, move=True))
        return reg

    def unary(
        self, opcode: int, source: VReg, imm: int = 0, offset: int = 0, symbol: CoreSymbol | None = None
    ) -> VReg:
        """``r = op(source)`` for an instruction that works in place (also ``source op imm``)."""
        reg = self.new()
        operands = (Operand(reg, Role.DEF, reuse=1), Operand(source, Role.USE))
        self.append(MachineInsn(opcode, operands, dst=0, imm=imm, offset=offset, symbol=symbol))
        return reg

    def alu_imm(self, op: Alu, left: VReg, imm: int, *, wide: bool = True, offset: int = 0) -> VReg:
        """``left op imm``."""
        return self.unary(isa.alu(op, Source.K, wide=wide), left, imm, offset)

    def alu(
        self, op: Alu, left: VReg, right: VReg, *, wide: bool = True, offset: int = 0, commutes: bool = True
    ) -> VReg:
        """``left op right``; ``commutes``: both are integers, so that they may change places where ``op``
        allows.
        """
        reg = self.new()
        operands = (Operand(reg, Role.DEF, reuse=1), Operand(left, Role.USE), Operand(right, Role.USE))
        opcode = isa.alu(op, Source.X, wide=wide)
        commutative = commutes and op in COMMUTATIVE
        self.append(MachineInsn(opcode, operands, dst=0, src=2, offset=offset, commutative=commutative))
        return reg

    def transfer(self, opcode: int, source: VReg, offset: int = 0) -> VReg:
        """``r = op(source)`` for an instruction that has a destination of its own (32-bit and extending
        moves).
        """
        reg = self.new()
        operands = (Operand(reg, Role.DEF), Operand(source, Role.USE))
        self.append(MachineInsn(opcode, operands, dst=0, src=1, offset=offset))
        return reg

    # ------------------------------------------------------------ widths

    def zero_upper(self, source: VReg) -> VReg:
        """The low 32 bits, zero-extended."""
        if self.alu32:
            return self.transfer(isa.alu(Alu.MOV, Source.X, wide=False), source)
        return self.alu_imm(Alu.RSH, self.alu_imm(Alu.LSH, source, 32), 32)

    def sign_extend(self, source: VReg, bits: int, *, wide: bool = True) -> VReg:
        """The low ``bits`` (8, 16, 32) as a signed number, in 64 or (not ``wide``) 32 bits."""
        if self.target.isa >= Isa.V4:
            return self.transfer(isa.alu(Alu.MOV, Source.X, wide=wide), source, bits)
        if not wide and not self.alu32:
            return self.zero_upper(self.sign_extend(source, bits))
        distance = (64 if wide else 32) - bits
        return self.alu_imm(Alu.ARSH, self.alu_imm(Alu.LSH, source, distance, wide=wide), distance, wide=wide)

    def narrow(self, value: Value) -> bool:
        """Whether ``value`` is an i32 that 32-bit instructions work on."""
        return self.alu32 and value.type == I32

    @staticmethod
    def bits(value: Value) -> int:
        """The width of an integer or pointer value."""
        return value.type.bits if isinstance(value.type, IntTy) else 64
