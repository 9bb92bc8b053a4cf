"""Emission on machine functions made by hand: layout, turned jumps, long jumps, frames."""

from __future__ import annotations

import itertools

import pytest

from pyebpf.backend import insn as isa
from pyebpf.backend.block_order import block_order, loop_depths
from pyebpf.backend.disassemble import text, with_slots
from pyebpf.backend.emit import Code, emit
from pyebpf.backend.insn import Alu, Jmp, Source
from pyebpf.backend.machine import (
    Edge,
    FrameSlot,
    MachineBlock,
    MachineFunction,
    MachineInsn,
    Operand,
    PReg,
    Role,
)
from pyebpf.diagnostics import InternalError, Span
from pyebpf.ir.ops import Function, FunctionRole
from pyebpf.ir.types import I64
from pyebpf.target import Isa, Target

SPAN = Span("x.py", 1, 1, 1, 1)


def add(register: int, imm: int) -> MachineInsn:
    operands = (Operand(PReg(register), Role.DEF, reuse=1), Operand(PReg(register), Role.USE))
    return MachineInsn(isa.alu(Alu.ADD, Source.K), operands, dst=0, imm=imm)


def make_test(op: Jmp = Jmp.JGT, *, register: bool = False) -> MachineInsn:
    operands = [Operand(PReg(1), Role.USE)]
    if register:
        operands.append(Operand(PReg(2), Role.USE))
    opcode = isa.jump(op, Source.X if register else Source.K)
    return MachineInsn(opcode, tuple(operands), dst=0, src=1 if register else None, imm=0 if register else 5)


def leave() -> MachineInsn:
    return MachineInsn(isa.EXIT)


def machine(*blocks: MachineBlock) -> MachineFunction:
    source = Function("f", [], I64, [], FunctionRole.SUBPROGRAM, SPAN)
    return MachineFunction("f", (), list(blocks), source)


def connect(block: MachineBlock, *targets: MachineBlock) -> None:
    block.edges = tuple(Edge(t) for t in targets)


def lines(code: Code) -> list[str]:
    return [text(i) for i in code.insns]


def branches(op: Jmp = Jmp.JGT, *, register: bool = False) -> MachineFunction:
    """``if r1 > … goto cold; r0 += 1; exit; cold: r0 += 2; exit`` with an unlikely fall-through."""
    entry, cold, hot = MachineBlock("entry"), MachineBlock("cold", unlikely=True), MachineBlock("hot")
    entry.insns = [make_test(op, register=register)]
    connect(entry, hot, cold)
    hot.insns, cold.insns = [add(0, 1), leave()], [add(0, 2), leave()]
    return machine(entry, hot, cold)


@pytest.mark.parametrize(
    ("level", "op", "register", "first"),
    [
        (Isa.V3, Jmp.JGT, False, "if r1 <= 5 goto +2"),
        (Isa.V3, Jmp.JGT, True, "if r1 <= r2 goto +2"),
        (Isa.V1, Jmp.JGT, True, "if r2 >= r1 goto +2"),
        (Isa.V1, Jmp.JSGE, True, "if r2 s> r1 goto +2"),
        (Isa.V1, Jmp.JEQ, False, "if r1 != 5 goto +2"),
    ],
)
def test_jump_is_turned_round(level: Isa, op: Jmp, register: bool, first: str) -> None:
    code = emit(branches(op, register=register), Target(isa=level))
    assert lines(code) == [first, "r0 += 1", "exit", "r0 += 2", "exit"]


@pytest.mark.parametrize(("level", "op"), [(Isa.V1, Jmp.JGT), (Isa.V3, Jmp.JSET), (Isa.V1, Jmp.JSET)])
def test_jump_that_cannot_be_turned_round(level: Isa, op: Jmp) -> None:
    code = emit(branches(op), Target(isa=level))
    assert lines(code)[1:] == ["goto +2", "r0 += 1", "exit", "r0 += 2", "exit"]


def test_loops_stay_together() -> None:
    entry, head, body, inner, after = (MachineBlock(n) for n in ("entry", "head", "body", "inner", "after"))
    connect(entry, head)
    connect(head, after, body)
    connect(body, inner)
    connect(inner, inner, head)
    for block in (head, inner):
        block.insns = [make_test()]
    after.insns = [leave()]
    function = machine(entry, after, inner, body, head)
    assert [b.name for b in block_order(function)] == ["entry", "head", "body", "inner", "after"]
    assert {b.name: d for b, d in loop_depths(function).items()} == {
        "entry": 0,
        "head": 1,
        "body": 1,
        "inner": 2,
        "after": 0,
    }


def far(size: int) -> MachineFunction:
    """Conditional and unconditional jumps over ``size`` instructions, there and back."""
    entry, body, latch, after = (MachineBlock(n) for n in ("entry", "body", "latch", "after"))
    entry.insns = [make_test(), make_test()][:1]
    connect(entry, after, body)
    body.insns = [add(0, i % 100) for i in range(size)]
    connect(body, latch)
    latch.insns = [make_test()]
    connect(latch, entry, after)
    after.insns = [leave()]
    return machine(entry, body, latch, after)


@pytest.mark.parametrize("level", [Isa.V3, Isa.V4])
@pytest.mark.parametrize("size", [10, 32_765, 32_766, 32_767, 32_768, 95_000])
def test_long_jumps_arrive(size: int, level: Isa) -> None:
    """Simulates control: every path must come to where it was to go, through any number of relays."""
    code = emit(far(size), Target(isa=level))
    isa.encode(code.insns)  # every distance fits
    insns = dict(with_slots(code.insns))

    def settle(slot: int) -> int:
        while insns[slot].opcode in (isa.GOTO, isa.GOTOL):
            slot += 1 + insns[slot].jump_distance
        return slot

    tests = [s for s, i in insns.items() if i.is_jump and i.opcode not in (isa.GOTO, isa.GOTOL)]
    exits = [s for s, i in insns.items() if i.opcode == isa.EXIT]
    assert len(tests) == 2 and len(exits) == 1
    reached = {s: {settle(s + 1 + insns[s].jump_distance), settle(s + 1)} for s in tests}
    work = [s for s, i in insns.items() if i.opcode == isa.alu(Alu.ADD, Source.K)]
    first, last = min(work), max(work)
    assert len(work) == size
    assert reached[tests[0]] == {first, exits[0]}
    assert reached[tests[1]] == {tests[0], exits[0]}
    for here, following in itertools.pairwise(work):
        assert settle(here + 1) == following
    assert settle(last + 1) == tests[1]
    # The verifier refuses what no path comes to.
    seen, todo = set[int](), [0]
    while todo:
        slot = todo.pop()
        if slot in seen:
            continue
        seen.add(slot)
        insn = insns[slot]
        if insn.is_jump:
            todo.append(slot + 1 + insn.jump_distance)
        if insn.opcode not in (isa.GOTO, isa.GOTOL, isa.EXIT):
            todo.append(slot + insn.slots)
    assert seen == insns.keys()


def test_frame_operands() -> None:
    slot, block = FrameSlot(16, 8, "s"), MachineBlock("entry")
    define = (Operand(PReg(3), Role.DEF),)
    block.insns = [
        MachineInsn(isa.ldx(4), define, dst=0, offset=4, frame=slot),
        MachineInsn(isa.stx(8), (Operand(PReg(2), Role.USE),), src=0, frame=slot, frame_is_dst=True),
        MachineInsn(isa.st(1), (), imm=9, offset=1, frame=slot, frame_is_dst=True),
        MachineInsn(isa.alu(Alu.ADD, Source.K), define, dst=0, imm=8, frame=slot),
        MachineInsn(isa.alu(Alu.ADD, Source.K), define, dst=0, imm=16, frame=slot),
        leave(),
    ]
    with pytest.raises(InternalError, match="has no place"):
        emit(machine(block), Target())
    slot.offset = -16
    assert lines(emit(machine(block), Target())) == [
        "r3 = *(u32 *)(r10 - 12)",
        "*(u64 *)(r10 - 16) = r2",
        "*(u8 *)(r10 - 15) = 9",
        "r3 = r10",
        "r3 += -8",
        "r3 = r10",
        "exit",
    ]
