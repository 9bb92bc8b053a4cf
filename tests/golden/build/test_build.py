"""Golden tests of the lowering: a typed tree of ``programs``, by name, and the SSA that it becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyebpf.frontend.build import build
from pyebpf.ir.text import parse_module, print_module
from pyebpf.ir.verify import verify
from pyebpf.target import Target
from tests.golden.build.programs import PROGRAMS
from tests.golden.cases import cases, check

HERE = Path(__file__).parent


def _lower(section: str, name: str) -> str:
    assert section == "ssa"
    module = build(PROGRAMS[name.strip()](), Target())
    verify(module)
    text = print_module(module)
    assert print_module(parse_module(text)) == text
    return text


@pytest.mark.parametrize("path", cases(HERE), ids=lambda path: path.stem)
def test_lowering(path: Path) -> None:
    check(path, _lower)


def test_every_program_has_its_case() -> None:
    assert {path.stem for path in cases(HERE)} == set(PROGRAMS)
