"""The whole back end: SSA text to assembly, for the ISA level that a section names."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyebpf.backend.codegen import compile_module
from pyebpf.backend.listing import listing
from pyebpf.ir.text import parse_module
from pyebpf.target import Isa, Target
from tests.golden.cases import cases, check


@pytest.mark.parametrize("path", cases(Path(__file__).parent), ids=lambda p: p.stem)
def test_asm(path: Path) -> None:
    def compute(name: str, ssa: str) -> str:
        target = Target(isa=Isa(int(name.removeprefix("asm v"))))
        return listing(compile_module(parse_module(ssa), target))

    check(path, compute)
