"""Each pass by itself: SSA text before and after. The folder of a case is the name of the pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyebpf.backend.pipeline import PIPELINE, Context
from pyebpf.ir.text import parse_module, print_module
from pyebpf.ir.verify import verify
from pyebpf.target import Target
from tests.golden.cases import cases, check

FOLDER = Path(__file__).parent
PASSES = {line.name: line for line in PIPELINE}
CASES = [path for name in PASSES if (FOLDER / name).is_dir() for path in cases(FOLDER / name)]


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_pass(path: Path) -> None:
    def compute(section: str, text: str) -> str:
        module = parse_module(text)
        verify(module)
        PASSES[path.parent.name].run(module, Context(Target(), unaligned="unaligned" in section))
        verify(module, after=path.parent.name)
        return print_module(module)

    check(path, compute)


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_nothing_is_left_to_do(path: Path) -> None:
    """A pass that reports no change has made none, and its second run after a change settles."""
    module = parse_module(path.read_text().split("\n====")[0].partition("\n")[2])
    line, context = PASSES[path.parent.name], Context(Target(), unaligned=False)
    for _ in range(10):
        before = print_module(module)
        changed = line.run(module, context)
        if not changed:
            assert print_module(module) == before
            return
    pytest.fail("does not settle in ten runs")


def test_every_pass_has_a_case() -> None:
    once = {name.partition(".")[0] for name in PASSES}
    assert once == {path.parent.name for path in CASES}
