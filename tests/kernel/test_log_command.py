"""``pyebpf log`` and ``pyebpf doctor`` on the running kernel."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

import pytest

from pyebpf.cli import main

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")

TWO = """
import pyebpf as bpf
from pyebpf import u8

bpf.license("GPL")

@bpf.xdp
def first(ctx: bpf.Xdp) -> int:
    return ctx.read(u8, 0)

@bpf.xdp
def second(ctx: bpf.Xdp) -> int:
    return bpf.XDP_DROP
"""


@pytest.fixture
def two(tmp_path: Path) -> str:
    """A file with two programs."""
    file = tmp_path / "two.py"
    file.write_text(TWO)
    return str(file)


def test_all_programs(two: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", two]) == 0
    told = capsys.readouterr().out
    assert told.startswith("first: accepted\n")
    assert "\nsecond: accepted\n" in told
    assert "\ntwo.py:9  return ctx.read(u8, 0)\n" in told
    assert told.count("\nprocessed ") == 2


def test_one_program_and_a_level(two: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", two, "second", "--level", "4"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("second: accepted\n")
    assert "first" not in told and "0: (" not in told
    assert "verification time" in told


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose program is compiled without its checks, and loaded when it is run as a script."""
    from pyebpf import driver

    monkeypatch.setattr(
        "pyebpf.world.compile_programs", functools.partial(driver.compile_programs, checks=False)
    )
    file = tmp_path / "refused.py"
    file.write_text(TWO.replace("def second", "def other") + "if __name__ == '__main__':\n    first.load()\n")
    return file


def test_a_refusal_ends_with_the_diagnostic(refused: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", str(refused), "first"]) == 1
    told = capsys.readouterr().out
    assert told.startswith("first: refused\n")
    assert "\nR5 offset is outside of the packet\n" in told
    assert "\nerror[E1103]: byte 0 of the packet is used, and nothing is known" in told
    assert f"--> {refused}:9:12\n" in told


def test_a_script_that_is_refused_shows_the_diagnostic(
    refused: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(refused)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error[E1103]: byte 0 of the packet is used")
    assert f"`pyebpf log {refused} first` shows it beside the Python lines" in told


def test_check_can_ask_the_kernel(
    refused: Path, two: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["check", "--load", "--json", str(refused)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["file"], told["code"], told["range"]["start"]) == (
        str(refused),
        "E1103",
        {"line": 9, "column": 12},
    )
    monkeypatch.undo()
    assert main(["check", "--load", two]) == 0
    assert "second: 2 instructions" in capsys.readouterr().out


def test_a_program_that_is_not_there(two: str) -> None:
    assert main(["log", two, "third"]) == 2


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    states = {found["subject"]: found["state"] for found in told["findings"]}
    assert told["loads"] is True
    assert states["CAP_BPF"] == states["@bpf.xdp"] == states["@bpf.socket_filter"] == "ok"
