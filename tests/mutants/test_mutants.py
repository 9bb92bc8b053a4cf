"""A series of mutants on every run of the tests; ``python -m tests.mutants.run`` judges more."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from pyebpf.declare import ProgramDecl
from pyebpf.diagnostics import Span
from pyebpf.driver import Compiled, compile_programs
from tests.differential.judge import packets, pinned
from tests.mutants.blame import Blame, Change
from tests.mutants.corpus import originals
from tests.mutants.edits import OPERATORS
from tests.mutants.judge import Fate, importable, judge_source
from tests.mutants.make import mutant
from tests.mutants.python import Meaning, meaning
from tests.mutants.run import run, show

SERIES = 4
LENGTH = 30
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")


@needs_root
@pytest.mark.parametrize("series", range(SERIES))
def test_what_is_accepted_is_loaded_and_what_is_refused_is_wrong(series: int) -> None:
    tally = run(range(series * LENGTH, (series + 1) * LENGTH))
    assert not tally.failures, "\n".join(show(*failure, source=True) for failure in tally.failures)
    assert not tally.elsewhere, "\n".join(show(*found, source=False) for found in tally.elsewhere)
    assert tally.refused > LENGTH // 4
    assert tally.fates[Fate.LOADED] > LENGTH // 4
    assert len(tally.false) <= 2, "\n".join(show(*found, source=False) for found in tally.false)


@needs_root
def test_the_originals_are_loaded() -> None:
    """Apart from those of the generators, which run elsewhere."""
    with pinned(), importable():
        for original in originals():
            if not original.name.startswith("generated"):
                result = judge_source(original.source, "original", packets(1))
                assert result.fate is Fate.LOADED, f"{original.name}: {result.text}"


def test_every_operator_is_used() -> None:
    assert {mutant(seed).operator for seed in range(400)} == OPERATORS.keys()


BEFORE = """\
import pyebpf as bpf
from pyebpf import u32, u64
bpf.license('GPL')
table = bpf.HashMap[u32, u64](max_entries=4)

@bpf.xdp
def program(ctx: bpf.Xdp) -> int:
    found = table.get(3)
    if found is None:
        return 1
    other = len(ctx)
    double = found * 2
    twice = double + other
    return twice
"""
AFTER = BEFORE.replace("    if found is None:\n        return 1\n", "")


def test_places_are_told_apart() -> None:
    """The check for None is gone: line 9 stands in its place, 10 uses what it guarded, 12 what is made of that."""
    change = Change(BEFORE, AFTER)

    def place(line: int) -> Blame:
        return change.place(Span("<mutant>", line, 5, line, 9))

    assert [place(line) for line in (9, 10, 12)] == [Blame.LINE, Blame.NAME, Blame.FLOW]
    assert place(4) is Blame.ELSEWHERE


def test_python_is_asked() -> None:
    """A line that fails in Python, one that is not reached, one that a rule forbids, one that nothing forbids."""
    frames = [bytes(40)]
    assert meaning(AFTER, {10}, {"E0301"}, frames) is Meaning.FAILS
    assert meaning(BEFORE, {13}, {"E0301"}, frames) is Meaning.UNREACHED
    assert meaning(BEFORE, {9}, {"E0401"}, frames) is Meaning.RULE
    assert meaning(BEFORE, {9}, {"E0301"}, frames) is Meaning.FALSE


@needs_root
def test_what_the_kernel_refuses_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without run-time checks programs reach the kernel that it does not take."""
    source = BEFORE.replace("table.get(3)", "ctx.read(u32, 0)").replace("found is None", "found == 7")
    assert judge_source(source, "checked", packets(1)).fate is Fate.LOADED

    def unchecked(programs: Sequence[ProgramDecl]) -> Compiled:
        return compile_programs(programs, checks=False)

    monkeypatch.setattr("tests.mutants.judge.compile_programs", unchecked)
    assert judge_source(source, "unchecked", packets(1)).fate is Fate.REJECTED


def test_a_crash_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of the compiler is no refusal."""

    def fail(programs: object) -> object:
        raise TypeError("a mistake")

    monkeypatch.setattr("tests.mutants.judge.compile_programs", fail)
    assert judge_source(BEFORE, "crashed", packets(1)).fate is Fate.CRASHED
