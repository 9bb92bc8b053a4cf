"""Parallel moves: whatever is asked for at once comes out right one after the other."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyebpf.backend import insn as encoding
from pyebpf.backend.insn import Alu, Source
from pyebpf.backend.machine import FrameSlot, MachineInsn, Operand, PReg, Role
from pyebpf.backend.moves import Move, Place, resolve

MOVE = encoding.alu(Alu.MOV, Source.X)


def constant(value: int) -> MachineInsn:
    """An instruction that makes ``value``."""
    return MachineInsn(
        encoding.alu(Alu.MOV, Source.K), (Operand(PReg(0), Role.DEF),), dst=0, imm=value, remat=True
    )


def simulate(insns: list[MachineInsn], places: dict[Place, object]) -> dict[Place, object]:
    """What ``places`` hold after ``insns``, each done as its encoding says."""
    places = dict(places)
    for insn in insns:
        numbers = [o.reg.number for o in insn.operands if isinstance(o.reg, PReg)]
        if insn.opcode == MOVE:
            assert (insn.dst, insn.src) == (0, 1)
            places[numbers[0]] = places[numbers[1]]
        elif insn.opcode == encoding.ldx(8):
            assert insn.frame is not None and not insn.frame_is_dst and insn.dst == 0
            places[numbers[0]] = places[insn.frame]
        elif insn.opcode == encoding.stx(8):
            assert insn.frame is not None and insn.frame_is_dst and insn.src == 0
            places[insn.frame] = places[numbers[0]]
        else:
            assert insn.opcode == encoding.alu(Alu.MOV, Source.K)
            places[numbers[0]] = insn.imm
    return places


def run(moves: list[Move], free: list[int], slots: list[FrameSlot]) -> list[MachineInsn]:
    """Resolve and check ``moves``; registers that are neither free nor targets must keep their contents."""
    before: dict[Place, object] = {
        **{r: f"r{r}" for r in range(10)},
        **{s: f"s{i}" for i, s in enumerate(slots)},
    }
    fresh: list[FrameSlot] = []

    def new_slot() -> FrameSlot:
        fresh.append(FrameSlot(8, 8))
        return fresh[-1]

    insns = resolve(moves, free, new_slot)
    after = simulate(insns, before)
    targets = {m.target for m in moves}
    for m in moves:
        expected = m.source.imm if isinstance(m.source, MachineInsn) else before[m.source]
        assert after[m.target] == expected
    for place, value in before.items():
        if place not in targets and place not in free:
            assert after[place] == value
    return insns


@st.composite
def parallel_moves(draw: st.DrawFn) -> tuple[list[Move], list[int], list[FrameSlot]]:
    """Moves between registers and slots, constants among them, with some registers free."""
    slots = [FrameSlot(8, 8) for _ in range(draw(st.integers(0, 5)))]
    places: list[Place] = [*range(10), *slots]
    targets = draw(st.lists(st.sampled_from(places), unique=True, max_size=len(places)))
    free = draw(st.lists(st.integers(0, 9), unique=True, max_size=3))
    free = [r for r in free if r not in targets]
    sources = [p for p in places if p not in free]
    moves = []
    for target in targets:
        if draw(st.integers(0, 5)) == 0:
            moves.append(Move(target, constant(draw(st.integers(0, 100)))))
        else:
            moves.append(Move(target, draw(st.sampled_from(sources))))
    return moves, free, slots


@given(parallel_moves())
@settings(max_examples=1500, deadline=None)
def test_any_moves(case: tuple[list[Move], list[int], list[FrameSlot]]) -> None:
    """The property, for all mixtures."""
    run(*case)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_all_permutations(count: int) -> None:
    """Every permutation of a few registers, with and without a free one: never more than one instruction per move
    and one more per cycle (two where the cycle goes through memory)."""
    for order in itertools.permutations(range(count)):
        moves = [Move(target, source) for target, source in enumerate(order)]
        moving = sum(1 for t, s in enumerate(order) if t != s)
        for free in ([], [9]):
            insns = run(moves, free, [])
            assert len(insns) <= moving + _cycles(order)


def _cycles(order: tuple[int, ...]) -> int:
    seen: set[int] = set()
    cycles = 0
    for start in range(len(order)):
        place = start
        length = 0
        while place not in seen:
            seen.add(place)
            place = order[place]
            length += 1
        cycles += length > 1
    return cycles


def test_moves_to_oneself_vanish() -> None:
    slot = FrameSlot(8, 8)
    assert run([Move(3, 3), Move(slot, slot)], [], [slot]) == []


def test_chain_needs_no_scratch() -> None:
    assert len(run([Move(0, 1), Move(1, 2), Move(2, 3)], [], [])) == 3


def test_one_load_for_two_registers() -> None:
    """A slot is read once; the second register copies the first."""
    slot = FrameSlot(8, 8)
    insns = run([Move(0, slot), Move(1, slot)], [], [slot])
    assert [i.opcode for i in insns] == [encoding.ldx(8), MOVE]


def test_constants_wait_for_the_register() -> None:
    """The register of a constant is read before it is overwritten, without a detour."""
    assert len(run([Move(0, constant(7)), Move(1, 0)], [], [])) == 2


def test_pointers_are_never_mixed() -> None:
    """A swap without a free register goes through a slot: the verifier refuses exclusive-or on pointers."""
    everything = [Move(r, (r + 1) % 10) for r in range(10)]
    insns = run(everything, [], [])
    assert {i.opcode for i in insns} == {MOVE, encoding.ldx(8), encoding.stx(8)}
    assert len(insns) == 11


def test_slots_exchange_without_a_free_register() -> None:
    """Memory to memory takes a register from its owner and gives it back."""
    a, b = FrameSlot(8, 8), FrameSlot(8, 8)
    run([Move(a, b), Move(b, a)], [], [a, b])
