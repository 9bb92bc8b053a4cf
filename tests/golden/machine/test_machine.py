"""Instruction selection: SSA text to machine IR text, for the ISA level that a section names."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyebpf.backend.machine_text import print_machine
from pyebpf.backend.select import select
from pyebpf.ir.text import parse_module
from pyebpf.target import Isa, Target
from tests.golden.cases import cases, check


@pytest.mark.parametrize("path", cases(Path(__file__).parent), ids=lambda p: p.stem)
def test_machine(path: Path) -> None:
    def compute(name: str, ssa: str) -> str:
        module = parse_module(ssa)
        target = Target(isa=Isa(int(name.removeprefix("machine v"))))
        return "\n".join(print_machine(select(f, module, target)) for f in module.functions.values())

    check(path, compute)
