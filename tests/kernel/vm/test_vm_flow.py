"""Control flow: random programs with branches and loops, calls, callbacks, tail calls; the machine against the JIT."""

from __future__ import annotations

import os
import random
import struct

import pytest

from pyebpf.backend import insn as isa
from pyebpf.backend.insn import Alu, Insn, Jmp, Source
from pyebpf.object import MapSpec, ObjectSpec, ProgramSpec
from pyebpf.runtime.load import load as load_kernel
from pyebpf.runtime.vm.load import load as load_machine
from pyebpf.runtime.vm.translate_structure import Structured
from pyebpf.runtime.vm.translate_text import TooDeep
from pyebpf.uapi.constants import MapType, ProgType
from tests.kernel.vm.both import EXIT, FRAME, Code, both, copy, goto, mov, operand, spec

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")

ROUNDS = 8
_OPS = (Alu.ADD, Alu.SUB, Alu.MUL, Alu.XOR, Alu.OR, Alu.AND, Alu.RSH)
_TESTS = (Jmp.JEQ, Jmp.JGT, Jmp.JSLT, Jmp.JSET, Jmp.JLE)


def _target(rng: random.Random, headers: list[int], source: int, count: int) -> int:
    """Where a jump leads: backward to a header, forward at most to the next one, so that loops have one entry."""
    if rng.random() < 0.4:
        return rng.choice([header for header in headers if header <= source])
    return rng.randint(source + 1, min(header for header in [*headers, count] if header > source))


def _random_flow(rng: random.Random, *, loops: bool = False) -> Code:
    """Blocks of arithmetic whose jumps lead to any other block; with ``loops`` the program has loops and branches only.
    r8 counts down at every block, so the program ends; all blocks are reached, as the verifier demands."""
    count = rng.randrange(3, 14)
    headers = [0, *sorted(rng.sample(range(1, count), 2))]
    blocks: list[list[Insn]] = []
    for number in range(count):
        body = [Insn(isa.alu(Alu.SUB, Source.K), 8, imm=1), Insn(isa.alu(Alu.XOR, Source.K), 0, imm=number)]
        for _ in range(rng.randrange(4)):
            op, wide = rng.choice(_OPS), rng.random() < 0.5
            if rng.random() < 0.5 and op is not Alu.RSH:
                body.append(
                    Insn(isa.alu(op, Source.X, wide=wide), rng.choice([0, 1, 2]), rng.choice([0, 1, 2]))
                )
            else:
                body.append(
                    Insn(isa.alu(op, Source.K, wide=wide), rng.choice([0, 1, 2]), imm=rng.randrange(1, 31))
                )
        blocks.append(body)
    # Behind each block: "if r8 is used up: leave", a conditional jump to any block, and the next block.
    sizes = [len(body) + 2 for body in blocks]
    starts = [sum(sizes[:n]) for n in range(count + 1)]
    code = Code()
    code.data(9)
    for register, at in ((0, 0), (1, 8), (2, 16)):
        code.load(register, 9, at)
    code.add(mov(8, rng.randrange(4, 30)))
    first = code.slot
    for number, body in enumerate(blocks):
        code.add(*body)
        here = starts[number] + len(body)
        code.add(Insn(isa.jump(Jmp.JSLT, Source.K), 8, imm=1, offset=starts[count] - here - 1))
        target = starts[rng.randrange(count)]
        if loops:
            target = starts[_target(rng, headers, number, count)]
        if rng.random() < 0.5:
            test = Insn(isa.jump(rng.choice(_TESTS), Source.X), 0, 1, target - here - 2)
        else:
            test = Insn(isa.jump(rng.choice(_TESTS), Source.K), 2, 0, target - here - 2, rng.randrange(9))
        code.add(test)
    assert code.slot == first + starts[count]
    for register in (0, 1, 2, 8):
        code.store(9, 64 + register * 8, register)
    code.add(EXIT)
    return code


@pytest.mark.parametrize("seed", range(150))
def test_random_flow(seed: int) -> None:
    rng = random.Random(seed)
    with both(spec(_random_flow(rng), 72)) as pair:
        for _ in range(ROUNDS):
            pair.run(struct.pack("<QQQ", operand(rng), operand(rng), operand(rng)))


@pytest.mark.parametrize("seed", range(150))
def test_random_loops(seed: int) -> None:
    rng = random.Random(seed)
    built = spec(_random_flow(rng, loops=True), 72)
    with both(built) as pair:
        assert "if t < " not in pair.worlds[1].programs["main"].code.translation.text, "a dispatch loop"
        for _ in range(ROUNDS):
            pair.run(struct.pack("<QQQ", operand(rng), operand(rng), operand(rng)))


@pytest.mark.parametrize("seed", range(150, 180))
def test_random_flow_as_a_dispatch_loop(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Structured) -> None:
        raise TooDeep

    monkeypatch.setattr(Structured, "write", refuse)
    test_random_flow(seed)


def _leaf(distance: int, callee: str | None) -> Code:
    """r1 + r2, the frame used, r6 … r9 changed; calls on."""
    code = Code()
    code.add(mov(6, 6), mov(7, 7), mov(8, 8), mov(9, 9))
    code.store(10, -8, 1)
    code.store(10, -16, 2)
    if callee:
        code.add(Insn(isa.alu(Alu.ADD, Source.K), 2, imm=distance))
        code.call(callee)
        code.load(1, 10, -8)
        code.add(Insn(isa.alu(Alu.XOR, Source.X), 0, 1))
    else:
        code.load(0, 10, -8)
        code.load(3, 10, -16)
        code.add(Insn(isa.alu(Alu.ADD, Source.X), 0, 3))
    code.add(EXIT)
    return code


def test_calls_eight_deep_keep_registers_and_frames() -> None:
    main = Code()
    main.data(9)
    main.add(mov(6, 60), mov(7, 70), mov(8, 80))
    main.store(10, -8, 6)
    main.load(1, 9, 0)
    main.load(2, 9, 8)
    main.call("f1")
    for index, register in enumerate((0, 6, 7, 8)):
        main.store(9, 64 + index * 8, register)
    main.load(1, 10, -8)
    main.store(9, 96, 1)
    main.add(EXIT)
    functions = {f"f{n}": _leaf(n, f"f{n + 1}" if n < 7 else None) for n in range(1, 8)}
    rng = random.Random(1)
    with both(spec(main, 40, functions)) as pair:
        for _ in range(ROUNDS):
            pair.run(struct.pack("<QQ", operand(rng), operand(rng)))


def test_a_callee_writes_into_the_frame_of_its_caller() -> None:
    main = Code()
    main.data(9)
    main.add(Insn(isa.st(8), 10, 0, -16, 5), copy(1, 10), Insn(isa.alu(Alu.ADD, Source.K), 1, imm=-16))
    main.call("f")
    main.load(1, 10, -16)
    main.store(9, 64, 1)
    main.add(EXIT)
    callee = Code()
    callee.load(0, 1, 0)
    callee.add(Insn(isa.st(4), 1, 0, 4, 9), EXIT)
    with both(spec(main, 8, {"f": callee})) as pair:
        assert pair.run(b"") == (5, struct.pack("<II", 5, 9))


def test_a_callback_loops_over_the_frame_of_the_program() -> None:
    main = Code()
    main.data(9)
    main.load(1, 9, 0)
    main.add(Insn(isa.alu(Alu.AND, Source.K), 1, imm=63))
    main.add(Insn(isa.st(8), 10, 0, -8, 1))
    main.function(2, "each")
    main.add(copy(3, 10), Insn(isa.alu(Alu.ADD, Source.K), 3, imm=-8), mov(4, 0))
    main.helper(181)
    main.store(9, 64, 0)
    main.load(1, 10, -8)
    main.store(9, 72, 1)
    main.add(EXIT)
    each = Code()
    each.load(3, 2, 0)
    each.add(Insn(isa.alu(Alu.MUL, Source.K), 3, imm=3), Insn(isa.alu(Alu.ADD, Source.X), 3, 1))
    each.store(2, 0, 3)
    each.add(mov(0, 0), Insn(isa.jump(Jmp.JNE, Source.K), 1, imm=40, offset=1), mov(0, 1), EXIT)
    with both(spec(main, 16, {"each": each})) as pair:
        for count in (0, 1, 5, 41, 42, 63):
            pair.run(struct.pack("<Q", count))


def test_may_goto_ends_a_loop_without_end() -> None:
    main = Code()
    main.data(9)
    main.add(mov(1, 0), Insn(isa.MAY_GOTO, offset=2), Insn(isa.alu(Alu.ADD, Source.K), 1, imm=1), goto(-3))
    main.add(Insn(isa.alu(Alu.RSH, Source.K), 1, imm=50))
    main.store(9, 64, 1)
    main.add(mov(0, 3), EXIT)
    built = spec(main)
    with load_machine(built) as machine, load_kernel(built) as kernel:
        assert machine.programs["main"].run(FRAME).verdict == kernel.programs["main"].run(FRAME).verdict == 3
        assert machine.programs["main"].instructions > 3 * 8_000_000


def _tail_calls(programs: dict[str, Code], slots: dict[int, str]) -> ObjectSpec:
    built = spec(Code([mov(0, 0), EXIT]))
    built.programs = {
        name: ProgramSpec(
            name,
            code.bytes(),
            relocations=tuple(code.relocations),
            section="socket",
            prog_type=ProgType.SOCKET_FILTER,
        )
        for name, code in programs.items()
    }
    built.maps["jumps"] = MapSpec("jumps", MapType.PROG_ARRAY, 4, 4, 4, slots=slots)
    return built


def test_tail_calls_replace_the_program_33_times() -> None:
    again = Code()
    again.data(9)
    again.load(2, 9, 64)
    again.add(Insn(isa.alu(Alu.ADD, Source.K), 2, imm=1))
    again.store(9, 64, 2)
    again.map(2, "jumps")
    again.add(mov(3, 0))
    again.helper(12)
    again.add(mov(0, 77), EXIT)
    with both(_tail_calls({"main": again}, {0: "main"})) as pair:
        assert pair.run(b"") == (77, struct.pack("<Q", 34))


@pytest.mark.parametrize("index", [0, 1, 2, 3, 4, -1])
def test_a_tail_call_to_an_empty_slot_goes_on(index: int) -> None:
    main = Code()
    main.map(2, "jumps")
    main.add(mov(3, index))
    main.helper(12)
    main.add(mov(0, 11), EXIT)
    other = Code([mov(0, 22), EXIT])
    with both(_tail_calls({"main": main, "other": other}, {1: "other", 3: "main"})) as pair:
        pair.run(b"")
