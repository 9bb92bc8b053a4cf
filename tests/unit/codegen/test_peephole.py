"""The peephole rules, each on a small allocated function written as assembly."""

from __future__ import annotations

import pytest

from pyebpf.backend import insn as isa
from pyebpf.backend.assemble import assemble
from pyebpf.backend.disassemble import text
from pyebpf.backend.emit import emit
from pyebpf.backend.insn import Alu, Class, Insn, Source
from pyebpf.backend.machine import (
    CALL_CLOBBERED,
    Edge,
    MachineBlock,
    MachineFunction,
    MachineInsn,
    Operand,
    PReg,
    Role,
)
from pyebpf.backend.peephole import peephole
from pyebpf.diagnostics import Span
from pyebpf.ir.ops import Function, FunctionRole
from pyebpf.ir.types import I64
from pyebpf.target import Target


def machine_insn(insn: Insn) -> MachineInsn:
    """``insn`` with its registers as operands."""
    use_dst = (Operand(PReg(insn.dst), Role.USE),)
    use_src = (Operand(PReg(insn.src), Role.USE),)
    define = (Operand(PReg(insn.dst), Role.DEF),)
    by_register = bool(insn.opcode & Source.X)
    match insn.cls:
        case _ if insn.opcode == isa.EXIT:
            return MachineInsn(insn.opcode, (Operand(PReg(0), Role.USE),))
        case _ if insn.opcode == isa.CALL:
            return MachineInsn(insn.opcode, define, imm=insn.imm, clobbers=CALL_CLOBBERED)
        case Class.ALU | Class.ALU64:
            copies = insn.opcode & 0xF0 == Alu.MOV
            operands = define + (() if copies else use_dst) + (use_src if by_register else ())
            src = len(operands) - 1 if by_register else None
            move = insn.opcode == isa.alu(Alu.MOV, Source.X)
            return MachineInsn(insn.opcode, operands, dst=0, src=src, imm=insn.imm, move=move)
        case Class.LDX:
            return MachineInsn(insn.opcode, define + use_src, dst=0, src=1, offset=insn.offset)
        case Class.STX:
            return MachineInsn(insn.opcode, use_dst + use_src, dst=0, src=1, offset=insn.offset)
        case _:
            operands = use_dst + (use_src if by_register else ())
            return MachineInsn(insn.opcode, operands, dst=0, src=1 if by_register else None, imm=insn.imm)


def improved(program: str) -> list[str]:
    """The assembly of ``program`` after the rules. A block is ``name -> targets:`` with its instructions
    below it."""
    blocks: dict[str, MachineBlock] = {}
    targets: dict[str, list[str]] = {}
    name = ""
    for line in program.strip().splitlines():
        if line.endswith(":"):
            name, _, after = line.removesuffix(":").partition("->")
            name = name.strip()
            blocks[name] = MachineBlock(name)
            targets[name] = after.split()
        else:
            blocks[name].insns += [machine_insn(i) for i in assemble(line)]
    for name, block in blocks.items():
        block.edges = tuple(Edge(blocks[t]) for t in targets[name])
    span = Span("x.py", 1, 1, 1, 1)
    source = Function("f", [], I64, [], FunctionRole.SUBPROGRAM, span)
    function = MachineFunction("f", (), list(blocks.values()), source)
    peephole(function)
    return [text(i) for i in emit(function, Target()).insns]


def test_empty_blocks_and_straight_lines_vanish() -> None:
    program = """
entry -> a:
    r0 = 1
a -> b:
b -> c:
    r0 += r1
c:
    exit
"""
    assert improved(program) == ["r0 = 1", "r0 += r1", "exit"]


def test_a_test_that_decides_nothing_vanishes() -> None:
    program = """
entry -> a b:
    r0 = 1
    if r1 > 7 goto +0
a -> c:
b -> c:
c:
    exit
"""
    assert improved(program) == ["r0 = 1", "exit"]


def test_dead_computations_vanish() -> None:
    program = """
entry:
    r3 = 5
    r4 = r3
    r4 += 1
    r5 = *(u8 *)(r1 + 0)
    r0 = r2
    r0 = r0
    exit
"""
    # A load stays: the selection dropped those that nobody needs.
    assert improved(program) == ["r5 = *(u8 *)(r1 + 0)", "r0 = r2", "exit"]


def test_constants_of_a_diamond() -> None:
    program = """
entry -> t f:
    if r1 > 7 goto +0
t -> j:
    r0 = 1
f -> j:
    r0 = 2
j:
    r0 += r2
    exit
"""
    assert improved(program) == ["r0 = 1", "if r1 > 7 goto +1", "r0 = 2", "r0 += r2", "exit"]


def test_a_constant_that_the_test_reads_stays() -> None:
    program = """
entry -> t f:
    if r1 > 7 goto +0
t -> j:
    r1 = 1
f -> j:
    r1 = 2
j:
    r0 = r1
    exit
"""
    assert improved(program)[0].startswith("if r1 ")


@pytest.mark.parametrize("clobber", ["r3 = 0", "call 7"])
def test_constants_of_a_row_of_tests(clobber: str) -> None:
    program = """
entry -> t second:
    if r6 > 7 goto +0
second -> t other:
    {}
    if r7 > 7 goto +0
t -> j:
    r0 = 1
other -> j:
    *(u8 *)(r9 + 0) = r8
    r0 = 2
j:
    r0 += r8
    exit
"""
    hoisted = improved(program.format(clobber))[0] == "r0 = 1"
    assert hoisted == (clobber != "call 7")  # which writes r0


def test_loop_tests_itself() -> None:
    program = """
entry -> head:
    r0 = r2
head -> after body:
    if r0 >= r1 goto +0
body -> head:
    r0 += r3
after:
    exit
"""
    assert improved(program) == [
        "r0 = r2",
        "if r0 >= r1 goto +2",
        "r0 += r3",
        "if r0 < r1 goto -2",
        "exit",
    ]


def test_first_test_of_a_loop_is_decided() -> None:
    program = """
entry -> head:
    r0 = 0
head -> after body:
    if r0 >= 4 goto +0
body -> head:
    r0 += r3
after:
    exit
"""
    assert improved(program) == ["r0 = 0", "r0 += r3", "if r0 < 4 goto -2", "exit"]


@pytest.mark.parametrize(
    ("constant", "test", "taken"),
    [
        ("r1 = -1", "if r1 > 7 goto +0", True),
        ("r1 = -1", "if r1 s> 7 goto +0", False),
        ("w1 = -1", "if r1 s> 7 goto +0", True),
        ("r1 = -1", "if w1 s< 0 goto +0", True),
        ("w1 = -1", "if w1 == -1 goto +0", True),
        ("w1 = -1", "if r1 == -1 goto +0", False),
        ("r1 = 12", "if r1 & 3 goto +0", False),
        ("r1 = 12", "if r1 & 4 goto +0", True),
        ("r1 = 12", "if r1 <= 12 goto +0", True),
    ],
)
def test_tests_of_constants(constant: str, test: str, taken: bool) -> None:
    program = f"""
entry -> t f:
    {constant}
    {test}
t:
    r0 = 1
    exit
f:
    r0 = 2
    exit
"""
    assert improved(program) == [f"r0 = {1 if taken else 2}", "exit"]


def test_equal_exits_are_shared() -> None:
    program = """
entry -> a b:
    if r1 > 7 goto +0
a:
    r0 = 1
    exit
b -> c d:
    if r2 > 7 goto +0
c:
    r0 = 1
    exit
d -> a e:
    if r3 > 7 goto +0
e:
    *(u8 *)(r1 + 0) = r2
    r0 = 1
    exit
"""
    assert improved(program) == [
        "if r1 > 7 goto +3",
        "if r2 > 7 goto +2",
        "if r3 > 7 goto +1",
        "*(u8 *)(r1 + 0) = r2",
        "r0 = 1",
        "exit",
    ]


def test_memory_accesses_and_calls_are_not_shared() -> None:
    """The verifier would refuse one access to two kinds of memory."""
    program = """
entry -> a b:
    if r1 > 7 goto +0
a:
    r0 = *(u8 *)(r2 + 0)
    exit
b:
    r0 = *(u8 *)(r2 + 0)
    exit
"""
    assert improved(program).count("r0 = *(u8 *)(r2 + 0)") == 2


def test_a_range_is_one_test() -> None:
    """What is below zero is above everything as an unsigned number."""
    program = """
entry -> out high:
    if r1 s< 0 goto +0
high -> out in:
    if r1 s> 47 goto +0
out:
    r0 = 2
    exit
in:
    *(u8 *)(r2 + 0) = r1
    r0 = 1
    exit
"""
    assert improved(program) == [
        "r0 = 2",
        "if r1 > 47 goto +2",
        "*(u8 *)(r2 + 0) = r1",
        "r0 = 1",
        "exit",
    ]


def test_tests_of_different_registers_or_places_stay() -> None:
    program = """
entry -> out high:
    if r1 s< 0 goto +0
high -> in out2:
    if r1 s> 47 goto +0
out:
    r0 = 2
    exit
out2:
    r0 = 3
    exit
in:
    *(u8 *)(r2 + 0) = r1
    r0 = 1
    exit
"""
    assert "if r1 s< 0" in " ".join(improved(program))


def test_results_go_by_way_of_another_register_where_r0_is_in_use() -> None:
    program = """
entry -> none some:
    call 1
    if r0 == 0 goto +0
none:
    r0 = 2
    exit
some -> high in:
    if r6 > 47 goto +0
high:
    r0 = 3
    exit
in:
    *(u8 *)(r0 + 0) = r6
    r0 = 1
    exit
"""
    assert improved(program) == [
        "call 1",
        "r1 = 2",
        "if r0 == 0 goto +4",
        "r1 = 3",
        "if r6 > 47 goto +2",
        "*(u8 *)(r0 + 0) = r6",
        "r1 = 1",
        "r0 = r1",
        "exit",
    ]


def test_a_loop_does_not_set_the_result_of_leaving_it() -> None:
    program = """
entry -> body:
    r5 = 0
body -> out latch:
    r4 = *(u8 *)(r1 + 0)
    if r4 > 7 goto +0
latch -> body end:
    r5 += 1
    if r5 < 20 goto +0
out:
    r0 = 0
    exit
end:
    r0 = 1
    exit
"""
    found = improved(program)
    inside = found[1 : next(i for i, text in enumerate(found) if text.startswith("if r5")) + 1]
    assert not any(text.startswith("r0 =") for text in inside), found


def test_a_test_that_leads_to_one_place_either_way() -> None:
    program = """
entry -> first again:
    if r1 > 7 goto +0
again -> side side:
    if r2 > 7 goto +0
first -> side out:
    if r3 > 7 goto +0
side:
    r0 = 1
    exit
out:
    *(u8 *)(r1 + 0) = r2
    r0 = 2
    exit
"""
    assert improved(program)[-1] == "exit"


def test_of_two_results_of_one_test_only_one_is_set_before_it() -> None:
    program = """
entry -> short long:
    r0 = *(u8 *)(r1 + 0)
    if r0 > 7 goto +0
long -> none some:
    if r6 > 47 goto +0
none:
    r0 = 2
    exit
some -> one two:
    if r0 == 1 goto +0
short:
    r0 = 9
    exit
one:
    r0 = 1
    exit
two:
    r0 = 3
    exit
"""
    found = improved(program)
    assert found[-5:] == ["r1 = 3", "if r0 != 1 goto +1", "r1 = 1", "r0 = r1", "exit"]
