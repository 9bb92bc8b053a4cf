"""The checker of allocations: every planted fault is found, and nothing right is refused."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import pytest

from pyebpf.backend import insn as encoding
from pyebpf.backend.allocate import allocate
from pyebpf.backend.allocation_check import AllocationError, check, snapshot
from pyebpf.backend.insn import Alu, Source
from pyebpf.backend.machine import (
    Edge,
    FrameSlot,
    MachineBlock,
    MachineFunction,
    MachineInsn,
    Operand,
    PReg,
    Role,
    VReg,
)
from tests.unit.allocate.build import Build
from tests.unit.allocate.generator import random_function
from tests.unit.allocate.simulate import run

USE, DEF = Role.USE, Role.DEF


def sample() -> MachineFunction:
    """Six values across a call (two go to memory), a loop, a tie whose operand lives on, a diamond."""
    b = Build(params=1)
    (context,) = b.params
    kept = [b.load(context) for _ in range(6)]
    result = b.call(context, kept[0])
    loop, body, done = b.block("loop", 2), b.block("body"), b.block("done")
    b.jump(loop, result, b.const(0))
    b.at(loop)
    total, index = b.args(loop)
    b.branch(index, done, body)
    b.at(body)
    difference = b.sub(kept[1], total)
    b.store(context, difference)
    b.jump(loop, b.add(total, kept[1]), b.increment(index))
    b.at(done)
    for value in kept:
        b.store(total, value)
    b.exit(total)
    return b.function


def allocated() -> tuple[MachineFunction, MachineFunction]:
    """The sample before and after a right allocation."""
    after = sample()
    before = snapshot(after)
    allocate(after)
    check(before, after)
    return before, after


def insns(function: MachineFunction) -> list[tuple[MachineBlock, int, MachineInsn]]:
    """All instructions with their places."""
    return [(b, i, x) for b in function.blocks for i, x in enumerate(b.insns)]


def find(
    function: MachineFunction, wanted: Callable[[MachineInsn], bool]
) -> tuple[MachineBlock, int, MachineInsn]:
    """The first instruction that is ``wanted``."""
    return next(place for place in insns(function) if wanted(place[2]))


def set_register(insn: MachineInsn, operand: int, number: int) -> None:
    """Put another register into ``insn``."""
    operands = list(insn.operands)
    operands[operand] = dataclasses.replace(operands[operand], reg=PReg(number))
    insn.operands = tuple(operands)


def is_spill(insn: MachineInsn) -> bool:
    return insn.frame is not None and insn.frame_is_dst


def is_reload(insn: MachineInsn) -> bool:
    return insn.frame is not None and not insn.frame_is_dst


def swap_registers(f: MachineFunction) -> None:
    _, _, insn = find(f, lambda x: x.opcode == encoding.stx(8) and len(x.operands) == 2)
    a, b = (o.reg for o in insn.operands)
    assert isinstance(a, PReg) and isinstance(b, PReg)
    set_register(insn, 0, b.number)
    set_register(insn, 1, a.number)


def drop_move(f: MachineFunction) -> None:
    block, i, _ = find(f, lambda x: x.move)
    del block.insns[i]


def drop_spill(f: MachineFunction) -> None:
    block, i, _ = find(f, is_spill)
    del block.insns[i]


def drop_reload(f: MachineFunction) -> None:
    block, i, _ = find(f, is_reload)
    del block.insns[i]


def drop_constant(f: MachineFunction) -> None:
    block, i, _ = find(f, lambda x: x.remat)
    del block.insns[i]


def other_constant(f: MachineFunction) -> None:
    find(f, lambda x: x.remat)[2].imm += 1


def other_slot(f: MachineFunction) -> None:
    _, _, reload = find(f, is_reload)
    other = next(s for s in f.slots if s is not reload.frame)
    reload.frame = other


def one_slot_for_all(f: MachineFunction) -> None:
    slot = f.slots[0]
    for _, _, insn in insns(f):
        if insn.frame is not None:
            insn.frame = slot


def ignore_clobber(f: MachineFunction) -> None:
    """Keep in r5 what lives in r6 across the call."""
    for _, _, insn in insns(f):
        for i, operand in enumerate(insn.operands):
            if operand.reg == PReg(6):
                set_register(insn, i, 5)


def half_a_slot(f: MachineFunction) -> None:
    find(f, is_reload)[2].opcode = encoding.ldx(4)


def beside_a_slot(f: MachineFunction) -> None:
    find(f, is_spill)[2].offset = 4


def wrong_argument(f: MachineFunction) -> None:
    _, _, call = find(f, lambda x: x.opcode == encoding.CALL)
    set_register(call, 1, 2)


def wrong_result(f: MachineFunction) -> None:
    _, _, call = find(f, lambda x: x.opcode == encoding.CALL)
    set_register(call, 0, 1)


def break_tie(f: MachineFunction) -> None:
    _, _, sub = find(f, lambda x: x.opcode == encoding.alu(Alu.SUB, Source.X))
    used = {o.reg for o in sub.operands}
    set_register(sub, 0, next(r for r in range(10) if PReg(r) not in used))


def write_frame_pointer(f: MachineFunction) -> None:
    for _, _, insn in insns(f):
        if insn.opcode == encoding.ldx(8) and insn.frame is None:
            set_register(insn, 0, 10)
            return


def keep_virtual(f: MachineFunction) -> None:
    _, _, insn = find(f, lambda x: bool(x.operands))
    insn.operands = (dataclasses.replace(insn.operands[0], reg=VReg(1)), *insn.operands[1:])


def drop_instruction(f: MachineFunction) -> None:
    block, i, _ = find(f, lambda x: x.opcode == encoding.stx(8) and x.frame is None)
    del block.insns[i]


def repeat_instruction(f: MachineFunction) -> None:
    block, i, insn = find(f, lambda x: x.opcode == encoding.stx(8) and x.frame is None)
    block.insns.insert(i, insn)


def exchange_instructions(f: MachineFunction) -> None:
    block = f.blocks[-1]
    stores = [i for i, x in enumerate(block.insns) if x.opcode == encoding.stx(8) and x.frame is None]
    a, b = stores[:2]
    block.insns[a], block.insns[b] = block.insns[b], block.insns[a]


def turn_edges(f: MachineFunction) -> None:
    block = next(b for b in f.blocks if len(b.edges) == 2)
    block.edges = block.edges[::-1]


def keep_arguments(f: MachineFunction) -> None:
    block = next(b for b in f.blocks if len(b.edges) == 1)
    block.edges = (Edge(block.edges[0].target, (VReg(0),)),)


def drop_block(f: MachineFunction) -> None:
    del f.blocks[-1]


def move_early(f: MachineFunction) -> None:
    """Write the value that goes round the loop one instruction before the old one is read."""
    block = next(b for b in f.blocks if b.name == "body")
    block.insns.insert(0, block.insns.pop())


def add_clobber(f: MachineFunction) -> None:
    """Overwrite r6 at the start of the loop."""
    block = next(b for b in f.blocks if b.name == "loop")
    operands = (Operand(PReg(6), DEF), Operand(PReg(7), USE))
    block.insns.insert(0, MachineInsn(encoding.alu(Alu.MOV, Source.X), operands, dst=0, src=1, move=True))


FAULTS = [
    swap_registers,
    drop_move,
    drop_spill,
    drop_reload,
    drop_constant,
    other_constant,
    other_slot,
    one_slot_for_all,
    ignore_clobber,
    half_a_slot,
    beside_a_slot,
    wrong_argument,
    wrong_result,
    break_tie,
    write_frame_pointer,
    keep_virtual,
    drop_instruction,
    repeat_instruction,
    exchange_instructions,
    turn_edges,
    keep_arguments,
    drop_block,
    move_early,
    add_clobber,
]


@pytest.mark.parametrize("plant", FAULTS, ids=lambda f: f.__name__)
def test_planted_fault(plant: Callable[[MachineFunction], None]) -> None:
    """One fault in a right allocation, and the checker says so."""
    before, after = allocated()
    plant(after)
    with pytest.raises(AllocationError):
        check(before, after)


def test_early_definition() -> None:
    """A definition that is written before the uses are read may not share their register."""
    b = Build(params=1)
    result = b.function.new_vreg()
    b.insn(encoding.alu(Alu.XOR, Source.X), Operand(result, DEF, early=True), Operand(b.params[0], USE))
    b.exit(result)
    before = snapshot(b.function)
    allocate(b.function)
    check(before, b.function)
    insn = find(b.function, lambda x: x.opcode == encoding.alu(Alu.XOR, Source.X))[2]
    set_register(insn, 0, 1)
    with pytest.raises(AllocationError, match="before a use is read"):
        check(before, b.function)


def _mutate(function: MachineFunction, rng: random.Random) -> None:
    """Change one register, or remove or repeat one instruction, or let an access go to another slot."""
    places = insns(function)
    block, i, insn = rng.choice(places)
    kind = rng.randrange(4)
    if kind == 0 and insn.operands:
        set_register(insn, rng.randrange(len(insn.operands)), rng.randrange(10))
    elif kind == 1:
        del block.insns[i]
    elif kind == 2 and i:
        block.insns[i - 1], block.insns[i] = block.insns[i], block.insns[i - 1]
    elif insn.frame is not None:
        insn.frame = rng.choice(function.slots)


@pytest.mark.parametrize("first", range(0, 1000, 100))
def test_mutations(first: int) -> None:
    """Whatever changes what a function does, as simulation sees it, the checker sees as well."""
    wrong = 0
    for seed in range(first, first + 100):
        rng = random.Random(seed)
        function = random_function(seed)
        before = snapshot(function)
        allocate(function)
        expected = [run(before, s) for s in range(3)]
        _mutate(function, rng)
        try:
            different = [run(function, s) for s in range(3)] != expected
        except KeyError:  # a register or slot was read that nothing had written
            different = True
        if different:
            wrong += 1
            with pytest.raises(AllocationError):
                check(before, function)
    assert wrong > 15


def test_slot_of_the_function_is_no_spill_slot() -> None:
    """What the program stores in its own variables is not taken for a spill."""
    b = Build(params=1)
    slot = b.slot()
    b.insn(encoding.stx(8), Operand(b.params[0], USE), src=0, frame=slot, frame_is_dst=True)
    b.exit(b.const(0))
    before = snapshot(b.function)
    allocate(b.function)
    check(before, b.function)
    store = find(b.function, lambda x: x.frame is slot)[2]
    store.frame = FrameSlot(8, 8, "spill")
    b.function.slots.append(store.frame)
    with pytest.raises(AllocationError):
        check(before, b.function)
