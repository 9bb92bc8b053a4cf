"""Where r0 may point to the stack at the end of a function without a result, it is cleared; elsewhere nothing is added."""

from __future__ import annotations

import pytest

from pyebpf.backend.assemble import assemble
from pyebpf.backend.disassemble import text
from pyebpf.backend.emit import emit
from pyebpf.backend.machine import Edge, MachineBlock, MachineFunction
from pyebpf.backend.void_results import clear_results
from pyebpf.diagnostics import Span
from pyebpf.ir.ops import Function, FunctionRole
from pyebpf.ir.types import I64, VOID, IRType
from pyebpf.target import Target
from tests.unit.codegen.test_peephole import machine_insn


def ends(program: str, result: IRType = VOID) -> list[str]:
    """The assembly of a function; ``a:`` begins the one other block, to which the first goes on."""
    first, _, second = program.partition("a:")
    blocks = [
        MachineBlock(
            name, insns=[machine_insn(i) for line in lines.strip().splitlines() for i in assemble(line)]
        )
        for name, lines in (("entry", first), ("a", second))
        if lines.strip()
    ]
    if len(blocks) == 2:
        blocks[0].edges = (Edge(blocks[1]),)
    source = Function("f", [], result, [], FunctionRole.SUBPROGRAM, Span("x.py", 1, 1, 1, 1))
    function = MachineFunction("f", (), blocks, source)
    clear_results(function)
    return [text(i) for i in emit(function, Target()).insns]


@pytest.mark.parametrize(
    "program",
    [
        "r0 = r10\nr0 += -24\nr0 += r2\nexit",
        "r0 = r5\nexit",
        "r6 = r10\nr6 += -8\na:\nr0 = r6\nexit",
        "r0 = *(u64 *)(r5 + 0)\nexit",
    ],
)
def test_a_pointer_to_the_stack_is_cleared(program: str) -> None:
    assert ends(program)[-2:] == ["r0 = 0", "exit"]
    assert ends(program, I64)[-2:] != ["r0 = 0", "exit"], "a result is the function's own affair"


@pytest.mark.parametrize(
    "program",
    [
        "*(u64 *)(r5 + 0) = r2\nexit",
        "r0 = r10\nr0 += -24\ncall 1\nexit",
        "r0 = r10\nr0 = *(u32 *)(r0 - 8)\nexit",
        "r0 = 7\nr0 += 3\nexit",
    ],
)
def test_what_is_no_pointer_stays(program: str) -> None:
    assert "r0 = 0" not in ends(program)
