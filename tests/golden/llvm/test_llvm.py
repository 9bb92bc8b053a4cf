"""SSA to LLVM's assembly, for the level of the instruction set that a section names. LLVM accepts every text."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyebpf.backend.llvm_ir import print_llvm
from pyebpf.backend.llvm_process import compile_text
from pyebpf.ir.text import parse_module
from pyebpf.ir.verify import verify
from pyebpf.target import Isa, Target
from tests.golden.cases import cases, check


@pytest.mark.parametrize("path", cases(Path(__file__).parent), ids=lambda p: p.stem)
def test_llvm(path: Path) -> None:
    def compute(name: str, ssa: str) -> str:
        module = parse_module(ssa)
        verify(module)
        target = Target(isa=Isa(int(name.removeprefix("llvm v"))))
        text = print_llvm(module, target)
        assert compile_text(text, target.isa)
        return text

    check(path, compute)
