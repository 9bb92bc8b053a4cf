"""How good allocations are: the copies, stores and reloads of typical shapes, counted."""

from __future__ import annotations

import pytest

from pyebpf.backend import insn as encoding
from pyebpf.backend.machine import MachineFunction, MachineInsn, Operand, PReg, Role, VReg
from pyebpf.backend.machine_text import print_machine
from pyebpf.diagnostics import InternalError
from tests.unit.allocate.build import Build
from tests.unit.allocate.fuzz import judge

USE, DEF = Role.USE, Role.DEF


def insns(function: MachineFunction) -> list[MachineInsn]:
    return [i for b in function.blocks for i in b.insns]


def counts(b: Build) -> tuple[int, int, int]:
    """Allocate; how many moves, accesses to spill slots and constants the result has."""
    judge(b.function)
    done = insns(b.function)
    moves = sum(1 for i in done if i.move)
    memory = sum(
        1 for i in done if i.frame is not None and not i.remat and i.frame.label in ("spill", "aside")
    )
    return moves, memory, sum(1 for i in done if i.remat)


def test_straight_line_needs_nothing() -> None:
    """Parameters are used where they arrive; the last result is made in r0."""
    b = Build(params=2)
    b.exit(b.add(b.load(b.params[0]), b.load(b.params[1])))
    assert counts(b) == (0, 0, 0)


def test_context_across_a_call_is_saved_once() -> None:
    b = Build(params=1)
    (context,) = b.params
    first = b.call(context)
    b.store(context, first)
    b.exit(b.call(context, first))
    # r6 = r1; call; r2 = r0 and r1 = r6; call
    assert counts(b) == (3, 0, 0)


def test_argument_is_computed_in_place() -> None:
    b = Build(params=1)
    (context,) = b.params
    second = b.increment(b.load(context))
    third = b.increment(b.load(context))
    b.exit(b.call(context, second, third))
    assert counts(b) == (0, 0, 0)


def test_commutative_operand_that_dies_is_overwritten() -> None:
    b = Build(params=1)
    (context,) = b.params
    left, right = b.load(context), b.load(context)
    total = b.add(left, right)
    b.store(context, left)
    b.exit(total)
    assert counts(b) == (0, 0, 0)


def test_tie_copies_what_lives_on() -> None:
    b = Build(params=1)
    (context,) = b.params
    left, right = b.load(context), b.load(context)
    total = b.sub(left, right)
    b.store(context, left)
    b.exit(total)
    assert counts(b) == (1, 0, 0)


def test_loop_without_moves() -> None:
    """Two loop-carried values stay in their registers; their start values are made there."""
    b = Build(params=1)
    loop, body, done = b.block("loop", 2), b.block("body"), b.block("done")
    b.jump(loop, b.const(0), b.const(1))
    b.at(loop)
    i, total = b.args(loop)
    b.branch(i, done, body)
    b.at(body)
    total_then = b.add(total, i)
    b.jump(loop, b.increment(i), total_then)
    b.at(done)
    b.exit(total)
    assert counts(b) == (0, 0, 2)


def test_accumulator_is_the_phi_whatever_the_operand_order() -> None:
    b = Build(params=1)
    (context,) = b.params
    loop, done = b.block("loop", 1), b.block("done")
    again = b.block("again")
    b.jump(loop, b.const(0))
    b.at(loop)
    (total,) = b.args(loop)
    total = b.add(b.load(context), total)
    b.branch(total, done, again)
    b.at(again)
    b.jump(loop, total)
    b.at(done)
    b.exit(total)
    assert counts(b) == (0, 0, 1)


def test_swap_in_a_loop_takes_three_moves() -> None:
    b = Build(params=2)
    loop, again, done = b.block("loop", 2), b.block("again"), b.block("done")
    b.jump(loop, *b.params)
    b.at(loop)
    x, y = b.args(loop)
    b.branch(x, done, again)
    b.at(again)
    b.jump(loop, y, x)
    b.at(done)
    b.exit(x)
    moves, memory, _ = counts(b)
    assert (moves, memory) == (4, 0)  # and r0 = x at the end


def test_constants_are_made_again_after_a_call() -> None:
    """Neither a preserved register nor a slot is spent on them."""
    b = Build(params=1)
    (context,) = b.params
    key = b.slot()
    place, map_reference = b.address(key), b.const(1 << 40)
    b.store(place, context)
    first = b.call(map_reference, place)
    second = b.call(map_reference, place)
    b.exit(b.add(first, second))
    assert counts(b) == (1, 0, 4)  # r6 = r0; the first address serves the store and the call


def test_constant_is_shared_between_calls() -> None:
    """Where nothing clobbers, one constant serves all uses."""
    b = Build(params=1)
    (context,) = b.params
    mask = b.const(1 << 40)
    values = [b.sub(b.load(context), mask) for _ in range(4)]
    total = values[0]
    for value in values[1:]:
        total = b.add(total, value)
    b.exit(total)
    assert counts(b) == (0, 0, 1)


def test_constant_stays_in_a_register_through_a_loop() -> None:
    b = Build(params=1)
    (context,) = b.params
    mask = b.const(1 << 40)
    loop, body, done = b.block("loop", 1), b.block("body"), b.block("done")
    b.jump(loop, context)
    b.at(loop)
    (value,) = b.args(loop)
    b.branch(value, done, body)
    b.at(body)
    b.jump(loop, b.sub(b.sub(value, mask), mask))
    b.at(done)
    b.exit(value)
    judge(b.function)
    body_insns = next(x for x in b.function.blocks if x.name == "body").insns
    assert not any(i.remat for i in body_insns)


def test_four_values_across_a_call_stay_in_registers() -> None:
    b = Build(params=1)
    values = [b.load(b.params[0]) for _ in range(4)]
    b.call()
    for value in values:
        b.store(value, value)
    b.exit(b.const(0))
    assert counts(b) == (0, 0, 1)


def test_fifth_value_across_a_call_goes_to_memory_once() -> None:
    """One store, one reload: the value needed last."""
    b = Build(params=1)
    values = [b.load(b.params[0]) for _ in range(5)]
    b.call()
    for value in values:
        b.store(value, value)
    b.exit(b.const(0))
    assert counts(b) == (0, 2, 1)


def _checked_before_a_call() -> Build:
    """Five values that live across a call; the one needed last is tested before."""
    b = Build(params=1)
    values = [b.load(b.params[0]) for _ in range(5)]
    fine, bad = b.block("fine"), b.block("bad")
    b.branch(values[4], bad, fine)
    b.at(bad)
    b.exit(b.const(1))
    b.at(fine)
    b.call()
    for value in values:
        b.store(value, value)
    b.exit(b.const(0))
    return b


@pytest.mark.parametrize(("late", "place"), [(False, "entry"), (True, "fine")])
def test_store_after_the_check_on_request(late: bool, place: str) -> None:
    """Old verifiers know of the stored copy what they knew at the store."""
    b = _checked_before_a_call()
    judge(b.function, late_stores=late)
    stores = [
        (x.name, i) for x in b.function.blocks for i in x.insns if i.frame is not None and i.frame_is_dst
    ]
    assert [name for name, _ in stores] == [place]


def test_one_store_serves_many_calls() -> None:
    b = Build(params=1)
    values = [b.load(b.params[0]) for _ in range(5)]
    for _ in range(3):
        b.call()
        for value in values:
            b.store(value, value)
    b.exit(b.const(0))
    moves, memory, _ = counts(b)
    assert moves + memory <= 8  # a store, a reload after each call, copies out of a register in turn


def test_spilled_parameters_of_a_loop_stay_in_their_slots() -> None:
    """A value that goes round a loop in memory is not copied from slot to slot."""
    b = Build(params=1)
    (context,) = b.params
    loop, body, done = b.block("loop", 6), b.block("body"), b.block("done")
    b.jump(loop, *(b.load(context) for _ in range(6)))
    b.at(loop)
    values = b.args(loop)
    b.branch(values[0], done, body)
    b.at(body)
    b.call()
    b.call()
    b.jump(loop, b.increment(values[0]), *values[1:])
    b.at(done)
    for value in values:
        b.store(value, value)
    b.exit(values[0])
    judge(b.function)
    body_insns = next(x for x in b.function.blocks if x.name == "body").insns
    assert len([i for i in body_insns if i.frame is not None]) <= 2


def test_diamond_results_meet_in_one_register() -> None:
    b = Build(params=1)
    (context,) = b.params
    left, right, join = b.block("left"), b.block("right"), b.block("join", 1)
    b.branch(b.load(context), left, right)
    b.at(left)
    b.jump(join, b.increment(b.load(context)))
    b.at(right)
    b.jump(join, b.const(7))
    b.at(join)
    b.exit(b.args(join)[0])
    assert counts(b) == (0, 0, 1)


def test_moves_of_the_input_vanish() -> None:
    b = Build(params=1)
    value = b.move(b.move(b.params[0]))
    b.store(value, b.move(value))
    b.exit(b.move(b.load(value)))
    assert counts(b) == (0, 0, 0)


def test_dead_definitions_get_registers_of_nobody() -> None:
    """A result that nobody uses is written, and hurts nothing."""
    b = Build(params=1)
    values = [b.load(b.params[0]) for _ in range(9)]
    b.load(b.params[0])
    b.call()
    for value in values[:4]:
        b.store(value, value)
    b.exit(b.const(0))
    assert counts(b) == (0, 0, 1)


def test_unused_constants_vanish() -> None:
    b = Build(params=1)
    b.const(1)
    b.const(1 << 50)
    b.exit(b.params[0])
    assert counts(b) == (1, 0, 0)


def test_dead_parameters_cost_nothing() -> None:
    """Parameters that only feed each other round a loop are not moved."""
    b = Build(params=1)
    (context,) = b.params
    loop, body, done = b.block("loop", 2), b.block("body"), b.block("done")
    b.jump(loop, b.load(context), context)
    b.at(loop)
    useless, used = b.args(loop)
    b.branch(used, done, body)
    b.at(body)
    b.jump(loop, useless, b.increment(used))
    b.at(done)
    b.exit(used)
    moves, memory, _ = counts(b)
    assert (moves, memory) == (1, 0)


def test_fixed_register_that_survives_is_used_in_place() -> None:
    """Legacy packet loads want the context in r6 and leave it there: it is put there once."""
    b = Build(params=1)
    (context,) = b.params
    total = b.const(0)
    for _ in range(3):
        result = b.function.new_vreg()
        operands = (Operand(context, USE, fixed=6), Operand(result, DEF, fixed=0))
        b.insn(0x20, *operands, clobbers=frozenset(range(1, 6)))
        total = b.add(total, result)
    b.exit(total)
    moves, memory, _ = counts(b)
    assert (moves, memory) == (2, 0)  # r6 = r1, and the first sum out of r0


def test_all_ten_registers_are_used() -> None:
    b = Build(params=1)
    (context,) = b.params
    values = [b.load(context) for _ in range(9)]
    for value in values:
        b.store(context, value)
    b.exit(values[0])
    judge(b.function)
    used = {o.reg for i in insns(b.function) for o in i.operands}
    assert used == {PReg(r) for r in range(10)}


def test_unreachable_blocks_go() -> None:
    b = Build(params=1)
    b.exit(b.params[0])
    dead = b.block("dead")
    b.at(dead)
    b.exit(b.params[0])
    judge(b.function)
    assert [x.name for x in b.function.blocks] == ["entry"]


def test_two_values_in_one_register_is_our_bug() -> None:
    b = Build(params=2)
    b.insn(encoding.CALL, Operand(b.params[0], USE, fixed=1), Operand(b.params[1], USE, fixed=1))
    b.exit(b.params[0])
    with pytest.raises(InternalError, match="contradict"):
        judge(b.function)


def test_too_many_operands_is_our_bug() -> None:
    b = Build(params=1)
    values = [b.load(b.params[0]) for _ in range(11)]
    b.insn(encoding.stx(8), *(Operand(v, USE) for v in values))
    b.exit(b.params[0])
    with pytest.raises(InternalError, match="more than there are"):
        judge(b.function)


def test_ten_operands_fit() -> None:
    b = Build(params=1)
    values = [b.load(b.params[0]) for _ in range(10)]
    b.insn(encoding.stx(8), *(Operand(v, USE) for v in values))
    b.exit(values[0])
    judge(b.function)


def test_tie_to_a_fixed_register() -> None:
    """``cmpxchg``-like: the use is wanted where the definition is."""
    b = Build(params=2)
    result = b.function.new_vreg()
    operands = (Operand(result, DEF, fixed=0, reuse=1), Operand(b.params[0], USE), Operand(b.params[1], USE))
    b.insn(encoding.atomic(8), *operands)
    b.exit(result)
    assert counts(b) == (1, 0, 0)


def contradiction(*operands: Operand) -> None:
    """One instruction with ``operands``, between parameters v0 and v1 and an exit: it cannot be satisfied."""
    b = Build(params=2)
    b.insn(encoding.atomic(8), *operands)
    b.exit(b.params[0])
    b.function.next_vreg = 10
    with pytest.raises(InternalError, match=r"contradict|is no use"):
        judge(b.function)


def test_contradictions_are_our_bugs() -> None:
    v0, v1, v5, v6 = VReg(0), VReg(1), VReg(5), VReg(6)
    contradiction(Operand(v5, DEF, fixed=1), Operand(v6, DEF, fixed=1))
    contradiction(Operand(v5, DEF, fixed=1, reuse=1), Operand(v0, USE, fixed=2))
    contradiction(Operand(v5, DEF, fixed=1, reuse=1), Operand(v0, USE), Operand(v1, USE, fixed=1))
    contradiction(Operand(v5, DEF, reuse=1), Operand(v6, DEF))


def test_wrong_number_of_arguments_is_our_bug() -> None:
    b = Build(params=1)
    join = b.block("join", 1)
    b.jump(join)
    b.at(join)
    b.exit(b.params[0])
    with pytest.raises(InternalError, match="number of arguments"):
        judge(b.function)


def test_edge_to_the_entry_is_our_bug() -> None:
    b = Build()
    b.jump(b.function.blocks[0])
    with pytest.raises(InternalError, match="entry block has a predecessor"):
        judge(b.function)


def test_virtual_register_out_of_nowhere_is_our_bug() -> None:
    b = Build(params=1)
    b.exit(VReg(99))
    with pytest.raises(InternalError, match="no virtual register"):
        judge(b.function)


def test_critical_edge_is_our_bug() -> None:
    b = Build(params=1)
    join, other = b.block("join", 1), b.block("other")
    b.branch(b.params[0], other, join)
    b.here.edges[1].args = (b.params[0],)
    b.at(other)
    b.jump(join, b.params[0])
    b.at(join)
    b.exit(b.args(join)[0])
    with pytest.raises(InternalError, match="critical"):
        judge(b.function)


def test_text() -> None:
    """Before and after, as dumps show it."""
    b = Build(params=1)
    (context,) = b.params
    join, other = b.block("join", 1), b.block("other")
    other.unlikely = True
    place = b.address(b.slot())
    value = b.load(context)
    b.jump(join, b.sub(b.call(b.const(1 << 40), place), value))
    b.at(join)
    b.branch(b.args(join)[0], other, done := b.block("done"))
    b.at(other)
    b.exit(b.const(1))
    b.at(done)
    b.exit(context)
    assert print_machine(b.function) == (
        "function f(v0)\n"
        '  slot s0: 8 align 8 "local"\n'
        "entry(v0):\n"
        "    v2 = mov64 &s0+0  ; remat\n"
        "    v3 = ldxdw [+2], v0\n"
        "    v4 = ld_imm64 0x10000000000  ; remat\n"
        "    v5@r0 = call v4@r1, v2@r2, off 4, 0  ; clobbers r0 r1 r2 r3 r4 r5\n"
        "    v6=v5 = sub64 v5, v3, off 5\n"
        "    -> join(v6)\n"
        "join(v1):\n"
        "    jne v1, off 6, 0\n"
        "    -> other, done\n"
        "other: ; unlikely\n"
        "    v7 = mov64 1  ; remat\n"
        "    exit v7@r0\n"
        "done:\n"
        "    exit v0@r0\n"
    )
    judge(b.function)
    assert print_machine(b.function) == (
        "function f(r1)\n"
        '  slot s0: 8 align 8 "local" at r10-8\n'
        "entry:\n"
        "    r6 = ldxdw [+2], r1\n"
        "    r7 = mov64 r1  ; move\n"
        "    r1 = ld_imm64 0x10000000000  ; remat\n"
        "    r2 = mov64 &s0+0  ; remat\n"
        "    r0 = call r1, r2, off 4, 0  ; clobbers r0 r1 r2 r3 r4 r5\n"
        "    r0 = sub64 r0, r6, off 5\n"
        "    -> join\n"
        "join:\n"
        "    jne r0, off 6, 0\n"
        "    -> other, done\n"
        "other: ; unlikely\n"
        "    r0 = mov64 1  ; remat\n"
        "    exit r0\n"
        "done:\n"
        "    r0 = mov64 r7  ; move\n"
        "    exit r0\n"
    )
