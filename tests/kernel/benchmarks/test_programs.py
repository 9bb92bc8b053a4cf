"""The programs of the benchmarks do what their twins in C do, and the command prints its tables. Times are not judged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.build import ISA, Clang, find_clang, spec_of, with_clang, with_pyebpf
from benchmarks.cases import CASES, PROGRAMS, Case
from benchmarks.effects import differences, effects_of
from benchmarks.idioms.compare import compare
from benchmarks.table import Line, geometric_mean, ratio, render
from pyebpf.cli import import_file, programs_of
from pyebpf.driver import build_target, compile_programs

ROOT = Path(__file__).resolve().parents[3]

kernel = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")
needs_clang = pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")


@pytest.fixture(scope="module")
def clang() -> Clang:
    """The clang that the command would take."""
    return find_clang()


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """Stay on one CPU, so that per-CPU values are counted where those of the other program are."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cpus)})
    yield
    os.sched_setaffinity(0, cpus)


def test_every_program_has_a_case() -> None:
    """No program is forgotten, and none is there in one language only."""
    names = {case.name for case in CASES}
    assert names == {path.stem for path in PROGRAMS.glob("*.py")} - {"packet_headers"}
    assert names == {path.name.removesuffix(".bpf.c") for path in PROGRAMS.glob("*.bpf.c")}
    assert all(set(case.timed) <= case.packets.keys() for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_compiles_for_old_kernels(case: Case) -> None:
    """Every program is one that ``pyebpf build`` takes with its default target; the SSA is verified after each pass."""
    compile_programs(programs_of(import_file(case.python)), build_target("6.1", ISA), check=True)


@kernel
@needs_clang
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_does_what_its_twin_does(case: Case, clang: Clang, one_cpu: None) -> None:
    """Verdicts, packets, maps and variables after all packets."""
    ours = effects_of(case, spec_of(with_pyebpf(case), case))
    theirs = effects_of(case, spec_of(with_clang(case, clang), case))
    assert list(differences(ours, theirs)) == []
    assert len(ours.runs) == len(case.packets)


@kernel
@needs_clang
@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("xdp_lpm_drop", "return XDP_DROP", "return XDP_PASS"),
        ("xdp_fnv", "16777619u", "16777621u"),
        ("tc_globals", "total_bytes += length", "total_bytes += 1"),
    ],
)
def test_a_difference_is_seen(
    name: str, old: str, new: str, clang: Clang, one_cpu: None, tmp_path: Path
) -> None:
    """A program with another verdict, another map or another variable does not pass as the same."""
    (case,) = (case for case in CASES if case.name == name)
    changed = tmp_path / "changed.bpf.c"
    text = case.c.read_text()
    assert old in text
    changed.write_text(text.replace(old, new).replace("packet_headers.h", f"{PROGRAMS}/packet_headers.h"))
    ours = effects_of(case, spec_of(with_pyebpf(case), case))
    theirs = effects_of(case, spec_of(with_clang(case, clang, changed), case))
    assert list(differences(ours, theirs))


@kernel
@needs_clang
def test_the_command_prints_every_table() -> None:
    """All programs, each figure with its ratio; with so few runs that the times mean nothing."""
    words = [
        sys.executable,
        "-m",
        "benchmarks",
        "--no-llvm",
        "--loads",
        "1",
        "--rounds",
        "1",
        "--repeat",
        "100",
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    tables = done.stdout.split("\n\n")
    for title in ("instructions (slots)", "verified instructions", "stack (bytes)", "machine code (bytes)"):
        (table,) = (one for one in tables if one.startswith(title))
        assert [line.split()[0] for line in table.splitlines()[1:-1]] == [case.name for case in CASES]
        assert table.splitlines()[-1].startswith("geometric mean")
    for title in ("ns per run, best", "ns per run, median"):
        (table,) = (one for one in tables if one.startswith(title))
        assert len(table.splitlines()) == 2 + sum(len(case.timed) for case in CASES)


def test_ratios() -> None:
    """Nothing against nothing is a draw, something against nothing no number, and means are geometric."""
    assert ratio(3, 2) == 1.5
    assert ratio(0, 0) == 1
    assert ratio(8, 0) is None
    assert ratio(8, None) is None
    assert geometric_mean([2, 8]) == 4
    assert geometric_mean([]) is None
    text = render("stack", ["ours", "theirs", "other"], [Line("a", 8, (16, None)), Line("b", 0, (0, 4))])
    assert [line.split() for line in text.splitlines()] == [
        ["stack", "ours", "theirs", "ratio", "other", "ratio"],
        ["a", "8", "16", "0.50", "-", "-"],
        ["b", "0", "0", "1.00", "4", "0.00"],
        ["geometric", "mean", "0.71", "-"],
    ]


@kernel
@needs_clang
def test_the_checks_that_the_verifier_asks_for_take_no_more_instructions_than_in_c(
    clang: Clang, one_cpu: None
) -> None:
    found = compare(clang)
    assert len(found) > 20
    assert [idiom for idiom in found if idiom.ours > idiom.clang] == []
