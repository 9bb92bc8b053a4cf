"""``--codegen llvm`` on the command line, and the choice of the code generator in the driver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyebpf import driver
from pyebpf.backend.elf import read_object
from pyebpf.cli import CODEGENS, import_file, main, programs_of
from pyebpf.driver import Codegen, choose_codegen, compile_programs, stage_names

SAMPLES = Path(__file__).resolve().parents[3] / "samples"
SAMPLE = SAMPLES / "protocol_count.py"
TOO_LARGE = """\
import pyebpf as bpf
from pyebpf import u32, u64


@bpf.struct
class Large:
    words: list[int] = bpf.array(u64, 60)


@bpf.global_function
def table(n: u32) -> u64:
    a = Large()
    b = Large()
    a.words[n % 60] = 1
    b.words[n % 59] = 2
    return a.words[n % 58] + b.words[n % 57]


@bpf.xdp
def large(ctx: bpf.Xdp) -> int:
    return table(ctx.rx_queue_index)
"""


@pytest.fixture
def ours_again() -> Iterator[None]:
    """The choice that a script was run with ends with the test."""
    yield
    choose_codegen(Codegen.PYEBPF)


def test_the_command_line_knows_every_code_generator() -> None:
    assert tuple(c.value for c in Codegen) == CODEGENS


def test_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = tmp_path / "ours.o", tmp_path / "llvm.o"
    assert main(["build", str(SAMPLE), "-o", str(outputs[0])]) == 0
    assert main(["build", str(SAMPLE), "--codegen", "llvm", "-o", str(outputs[1])]) == 0
    ours, theirs = (read_object(path.read_bytes()) for path in outputs)
    assert ours.programs.keys() == theirs.programs.keys()
    assert ours.maps.keys() == theirs.maps.keys()
    assert ours.programs["count_by_protocol"].code != theirs.programs["count_by_protocol"].code


def test_dump(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dump", str(SAMPLE), "--codegen", "llvm", "--stage", "llvm"]) == 0
    assert "define dso_local i64 @" in capsys.readouterr().out
    assert main(["dump", str(SAMPLE), "--codegen", "llvm"]) == 0
    shown = capsys.readouterr().out
    assert "packets[protocol] += 1" in shown and "map packets" in shown
    assert main(["dump", str(SAMPLE), "--codegen", "llvm", "--stage", "machine"]) == 2
    assert "the stages are tree, ssa, llvm, asm, btf, elf" in capsys.readouterr().err


@pytest.mark.parametrize("stage", stage_names(Codegen.LLVM))
def test_every_stage_has_a_text(stage: str) -> None:
    compiled = compile_programs(programs_of(import_file(SAMPLE)), stages=[stage], codegen=Codegen.LLVM)
    assert compiled.stages.keys() == {stage} and compiled.stages[stage]


def test_check_goes_on_after_what_llvm_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "large_frames.py"
    path.write_text(TOO_LARGE)
    assert main(["check", "--codegen", "llvm", str(path), str(SAMPLE)]) == 1
    done = capsys.readouterr()
    assert "BPF stack limit" in done.err and "1 error" in done.err
    assert "count_by_protocol: " in done.out


def test_run_chooses_for_the_script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ours_again: None
) -> None:
    script = tmp_path / "script.py"
    script.write_text("from pyebpf import driver\nprint(driver._chosen)\n")
    assert main(["run", "--codegen", "llvm", str(script)]) == 0
    assert capsys.readouterr().out == "Codegen.LLVM\n"
    assert driver._chosen is Codegen.LLVM
    chosen = compile_programs(programs_of(import_file(SAMPLE)), stages=["llvm"])
    assert chosen.stages.keys() == {"llvm"}
