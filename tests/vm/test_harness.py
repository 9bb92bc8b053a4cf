"""What becomes of guests that do not end as they should; no guest is needed for that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyebpf.backend.elf import write_object
from pyebpf.backend.elf_read import read_object
from tests.differential.outcome import Outcome as Left
from tests.vm import machine, valid
from tests.vm.cases import Case, Fate, pinned, read_cases, read_results, try_case, write_cases
from tests.vm.kernels import Kernel, kernel_of
from tests.vm.report import VARIABLE, Outcome, Report, read_report
from tests.vm.stage import ROOT
from tests.vm.test_kernels import problem_of

needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="loading programs needs root"
)

TESTS = """
import os, pytest

def test_passes(): pass

def test_fails():
    print("seen before")
    assert 1 == 2

@pytest.mark.skip(reason="not today")
def test_skipped(): pass

@pytest.fixture
def broken(): raise KeyError("in the fixture")

def test_not_set_up(broken): pass
"""
LOST = "def test_that_kills_the_guest(): os._exit(7)\n"


def reported(folder: Path, text: str) -> Report:
    """What a pytest tells of these tests, run as in a guest."""
    (folder / "test_it.py").write_text(text)
    told = folder / "report.jsonl"
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-p", "tests.vm.report", str(folder)],
        cwd=ROOT,
        env={**os.environ, VARIABLE: str(told), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return read_report(told)


def test_a_report_has_every_test_with_its_text(tmp_path: Path) -> None:
    report = reported(tmp_path, TESTS)
    assert report.release == os.uname().release
    assert report.finished == pytest.ExitCode.TESTS_FAILED
    assert [len(report.named(outcome)) for outcome in Outcome] == [1, 2, 1]
    fails, not_set_up = report.named(Outcome.FAILED)
    assert "assert 1 == 2" in fails.text and "seen before" in fails.text
    assert "in the fixture" in not_set_up.text and not_set_up.name.endswith("(setup)")
    assert "not today" in report.named(Outcome.SKIPPED)[0].text


def test_the_test_that_loses_the_guest_is_named(tmp_path: Path) -> None:
    report = reported(tmp_path, TESTS + LOST)
    assert report.finished is None
    assert len(report.tests) == 4
    problem = problem_of(Kernel(".".join(os.uname().release.split(".")[:2]), ()), report)
    assert problem is not None and problem.endswith("::test_that_kills_the_guest")


def test_modules_that_cannot_be_imported_are_failures(tmp_path: Path) -> None:
    report = reported(tmp_path, "import nowhere\n")
    problem = problem_of(Kernel(".".join(os.uname().release.split(".")[:2]), ()), report)
    assert problem is not None and "No module named 'nowhere'" in problem


def test_no_report_and_another_kernel_are_failures(tmp_path: Path) -> None:
    kernel = kernel_of("6.1")
    assert "told nothing" in str(problem_of(kernel, read_report(tmp_path / "missing")))
    assert "6.12.3" in str(problem_of(kernel, Report(release="6.12.3", finished=0)))
    assert problem_of(kernel, Report(release="6.1.3", finished=0)) is None
    assert "between tests" in str(problem_of(kernel, Report(release="6.1.3")))


def test_half_a_line_is_left_out(tmp_path: Path) -> None:
    told = tmp_path / "report"
    told.write_text(
        '{"event": "booted", "release": "6.1.3"}\n{"event": "begin", "name": "one"}\n{"event": "te'
    )
    assert read_report(told).running == "one"


def test_a_machine_that_hangs_is_switched_off(tmp_path: Path) -> None:
    ended = machine._run(["sh", "-c", "echo before; sleep 60 & sleep 60"], tmp_path, 0.5)
    assert ended.status is None and ended.console == "before\n" and ended.seconds < 30
    assert "time ran out" in str(ended)


def test_the_status_of_the_command_comes_back(tmp_path: Path) -> None:
    assert machine._run(["sh", "-c", "exit 5"], tmp_path, 30).status == 5


# ---------------------------------------------------------------- cases


def changed(case: Case, **left: object) -> Case:
    """The case with another expectation of its first packet."""
    first, *others = case.expected
    other = Left(**{"verdict": first.verdict, "packet": first.packet, "maps": first.maps,
                    "globals": first.globals, **left})  # type: ignore[arg-type]  # fmt: skip
    return Case(case.name, case.elf, case.shape, case.frames, (other, *others))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, ...]:
    """Some valid programs, as a guest reads them."""
    path = tmp_path_factory.mktemp("cases") / "cases"
    write_cases(path, valid.build(range(6)).cases)
    return read_cases(path)


@needs_root
def test_cases_tell_what_is_different(cases: tuple[Case, ...]) -> None:
    with pinned():
        for case in cases:
            assert try_case(case).fate is Fate.RIGHT, try_case(case).text
        case = next(one for one in cases if one.expected)
        different = try_case(changed(case, verdict=case.expected[0].verdict + 1))
        assert different.fate is Fate.DIFFERENT and "verdict: evaluator" in different.text
        assert try_case(changed(case, packet=b"other")).fate is Fate.DIFFERENT
        with_maps = next(one for one in cases if one.expected and one.expected[0].maps)
        assert try_case(changed(with_maps, maps={})).fate is Fate.DIFFERENT


@needs_root
def test_an_object_that_the_verifier_refuses_is_told_with_its_log(cases: tuple[Case, ...]) -> None:
    case = next(one for one in cases if one.expected)
    spec = read_object(case.elf)
    program = spec.programs[case.shape.programs[-1]]
    # Instead of keeping the context it reads from the stack: r0 = *(u64 *)(r10 - 8).
    program.code = bytes.fromhex("79a0f8ff00000000") + program.code[8:]
    refused = Case(case.name, write_object(spec), case.shape, case.frames, case.expected)
    with pinned():
        result = try_case(refused)
    assert result.fate is Fate.REJECTED and "!read_ok" in result.text, result


@needs_root
def test_the_command_of_the_guest_tries_all(tmp_path: Path, cases: tuple[Case, ...]) -> None:
    write_cases(tmp_path / "cases", cases)
    command = [sys.executable, "-c", valid.TRYING_ALL, str(tmp_path / "cases"), str(tmp_path / "results")]
    subprocess.run(command, cwd=ROOT, check=True)
    found = read_results(tmp_path / "results")
    assert [(one.name, one.fate) for one in found] == [(case.name, Fate.RIGHT) for case in cases]


def test_results_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    path = tmp_path / "results"
    path.write_text('{"name": "a", "fate": "different", "runs": 2, "text": "x"}\n{"name": "b", "fa')
    assert [(one.name, one.fate) for one in read_results(path)] == [("a", Fate.DIFFERENT)]
    assert read_results(tmp_path / "missing") == []
