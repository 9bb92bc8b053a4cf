"""Machine functions run with invented semantics: a second opinion beside the symbolic checker.

Every instruction's results are a number made from its encoding and what it reads; a conditional jump goes by what it
reads. Two versions of a function are the same if they do the same instructions on the same numbers in the same order.
Clobbered registers get rubbish.
"""

from __future__ import annotations

from pyebpf.backend.machine import FrameSlot, MachineBlock, MachineFunction, MachineInsn, PReg, Reg, Role

STEPS = 400

Trace = list[tuple[int, ...]]


def compare(before: MachineFunction, after: MachineFunction, seed: int) -> None:
    """Fail if ``after`` does anything else than ``before``."""
    for start in (seed, seed + 1):
        assert run(before, start) == run(after, start)


def run(function: MachineFunction, seed: int) -> Trace:
    """The instructions that are done, each with the numbers it reads, for about ``STEPS`` instructions and blocks."""
    values: dict[Reg, int] = {PReg(10): 10}
    for i, param in enumerate(function.params):
        values[param] = hash((seed, "parameter", i))
    memory: dict[FrameSlot, int] = {}
    trace: Trace = []
    own = [s for s in function.slots if s.label in ("spill", "aside")]
    block: MachineBlock | None = function.blocks[0]
    steps = 0
    while block is not None and steps < STEPS:
        taken = 0
        steps += 1
        for insn in block.insns:
            if insn.move and PReg(10) not in [o.reg for o in insn.operands]:
                values[insn.operands[0].reg] = values[insn.operands[1].reg]
            elif insn.frame in own and insn.frame is not None:
                if insn.operands[0].role is Role.USE:
                    memory[insn.frame] = values[insn.operands[0].reg]
                else:
                    values[insn.operands[0].reg] = memory[insn.frame]
            elif insn.remat:
                values[insn.operands[0].reg] = hash((insn.opcode, insn.imm))
            else:
                taken = _do(insn, values, trace, seed)
                steps += 1
        if not block.edges:
            break
        edge = block.edges[taken % len(block.edges)]
        passed = [values[a] for a in edge.args]
        for param, value in zip(edge.target.params, passed, strict=True):
            values[param] = value
        block = edge.target
    return trace


def _do(insn: MachineInsn, values: dict[Reg, int], trace: Trace, seed: int) -> int:
    read = [values[o.reg] for o in insn.operands if o.role is Role.USE]
    if insn.commutative:
        read.sort()
    event = (insn.opcode, insn.imm, *read)
    trace.append(event)
    for register in insn.clobbers:
        values[PReg(register)] = hash(("rubbish", len(trace)))
    for i, operand in enumerate(o for o in insn.operands if o.role is Role.DEF):
        values[operand.reg] = hash((seed, i, event))
    return hash(event) >> 5
