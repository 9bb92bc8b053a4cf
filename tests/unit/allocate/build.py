"""Machine functions written by hand, shortly: one method per kind of instruction, on the block of the moment."""

from __future__ import annotations

from pyebpf.backend import insn as encoding
from pyebpf.backend.insn import Alu, Jmp, Source
from pyebpf.backend.machine import (
    CALL_CLOBBERED,
    Edge,
    FrameSlot,
    MachineBlock,
    MachineFunction,
    MachineInsn,
    Operand,
    Role,
    VReg,
)
from tests.unit.allocate.generator import source_function

USE, DEF = Role.USE, Role.DEF


class Build:
    """A function under construction. Blocks are made by ``block`` and filled after ``at``."""

    def __init__(self, params: int = 0, name: str = "f") -> None:
        entry = MachineBlock("entry")
        self.function = MachineFunction(name, (), [entry], source_function(name))
        self.params = [self.function.new_vreg() for _ in range(params)]
        self.function.params = entry.params = tuple(self.params)
        self.here = entry
        self.tag = 0

    def block(self, name: str, params: int = 0) -> MachineBlock:
        """A new block; its parameters are ``args(block)``."""
        block = MachineBlock(name, tuple(self.function.new_vreg() for _ in range(params)))
        self.function.blocks.append(block)
        return block

    def args(self, block: MachineBlock) -> list[VReg]:
        """The parameters of ``block``."""
        return [p for p in block.params if isinstance(p, VReg)]

    def at(self, block: MachineBlock) -> None:
        """Go on in ``block``."""
        self.here = block

    def slot(self, size: int = 8) -> FrameSlot:
        """A place in the frame."""
        slot = FrameSlot(size, 8, "local")
        self.function.slots.append(slot)
        return slot

    def insn(self, opcode: int, *operands: Operand, **fields: object) -> MachineInsn:
        """Any instruction; ``offset`` tells instructions apart."""
        self.tag += 1
        insn = MachineInsn(opcode, operands, offset=self.tag)
        for name, value in fields.items():
            setattr(insn, name, value)
        self.here.insns.append(insn)
        return insn

    def const(self, imm: int) -> VReg:
        """``v = imm``, which can be made anew."""
        v = self.function.new_vreg()
        opcode = encoding.LD_IMM64 if abs(imm) >> 31 else encoding.alu(Alu.MOV, Source.K)
        self.insn(opcode, Operand(v, DEF), dst=0, imm=imm, offset=0, remat=True)
        return v

    def address(self, slot: FrameSlot) -> VReg:
        """``v = &slot``, which can be made anew."""
        v = self.function.new_vreg()
        self.insn(encoding.alu(Alu.MOV, Source.X), Operand(v, DEF), dst=0, frame=slot, offset=0, remat=True)
        return v

    def load(self, address: VReg) -> VReg:
        """``v = *address``."""
        v = self.function.new_vreg()
        self.insn(encoding.ldx(8), Operand(v, DEF), Operand(address, USE), dst=0, src=1)
        return v

    def store(self, address: VReg, value: VReg) -> None:
        """``*address = value``."""
        self.insn(encoding.stx(8), Operand(address, USE), Operand(value, USE), dst=0, src=1)

    def sub(self, left: VReg, right: VReg) -> VReg:
        """``v = left - right``, in the register of ``left``."""
        v = self.function.new_vreg()
        operands = (Operand(v, DEF, reuse=1), Operand(left, USE), Operand(right, USE))
        self.insn(encoding.alu(Alu.SUB, Source.X), *operands, dst=0, src=2)
        return v

    def add(self, left: VReg, right: VReg) -> VReg:
        """``v = left + right``, in the register of either."""
        v = self.function.new_vreg()
        operands = (Operand(v, DEF, reuse=1), Operand(left, USE), Operand(right, USE))
        self.insn(encoding.alu(Alu.ADD, Source.X), *operands, dst=0, src=2, commutative=True)
        return v

    def increment(self, value: VReg, by: int = 1) -> VReg:
        """``v = value + by``, in the same register."""
        v = self.function.new_vreg()
        self.insn(
            encoding.alu(Alu.ADD, Source.K), Operand(v, DEF, reuse=1), Operand(value, USE), dst=0, imm=by
        )
        return v

    def move(self, value: VReg) -> VReg:
        """``v = value``."""
        v = self.function.new_vreg()
        opcode = encoding.alu(Alu.MOV, Source.X)
        self.insn(opcode, Operand(v, DEF), Operand(value, USE), dst=0, src=1, offset=0, move=True)
        return v

    def call(self, *args: VReg) -> VReg:
        """The result of a helper."""
        v = self.function.new_vreg()
        uses = [Operand(a, USE, fixed=i + 1) for i, a in enumerate(args)]
        self.insn(encoding.CALL, Operand(v, DEF, fixed=0), *uses, clobbers=CALL_CLOBBERED)
        return v

    def jump(self, target: MachineBlock, *args: VReg) -> None:
        """Control goes to ``target``."""
        self.here.edges = (Edge(target, args),)

    def branch(self, value: VReg, taken: MachineBlock, falls: MachineBlock) -> None:
        """To ``taken`` if ``value`` is not zero."""
        self.insn(encoding.jump(Jmp.JNE, Source.K), Operand(value, USE), dst=0)
        self.here.edges = (Edge(taken), Edge(falls))

    def exit(self, value: VReg) -> None:
        """The end, with a result."""
        self.insn(encoding.EXIT, Operand(value, USE, fixed=0), offset=0)
