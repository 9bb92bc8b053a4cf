"""The command line, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyebpf.backend.elf import read_object
from pyebpf.cli import main
from pyebpf.codes import Code
from pyebpf.driver import running_target, stage_names
from pyebpf.target import Arch

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
WRONG = """\
import pyebpf as bpf


@bpf.xdp
def wrong(ctx: bpf.Xdp) -> int:
    return undefined_name


@bpf.xdp
def right(ctx: bpf.Xdp) -> int:
    return bpf.XDP_PASS
"""


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """A file with one wrong and one right program."""
    path = tmp_path / "wrong_programs.py"
    path.write_text(WRONG)
    return path


def test_build_writes_an_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.o"
    assert main(["build", str(SAMPLES / "protocol_count.py"), "-o", str(out)]) == 0
    assert "count_by_protocol" in capsys.readouterr().out
    spec = read_object(out.read_bytes(), "out.o")
    assert list(spec.programs) == ["count_by_protocol"]
    assert list(spec.maps) == ["packets"]
    assert spec.license == "GPL"


def test_building_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.o", "b.o"):
        assert main(["build", str(SAMPLES / "packet_events.py"), "-o", str(tmp_path / name)]) == 0
    assert (tmp_path / "a.o").read_bytes() == (tmp_path / "b.o").read_bytes()


def test_check_reports_every_file(wrong: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(wrong), str(SAMPLES / "hello_socket.py")]) == 1
    done = capsys.readouterr()
    assert f"{wrong}:6:12" in done.err
    assert "1 error" in done.err
    assert "right: 2 instructions" in done.out
    assert "keep_four: 2 instructions" in done.out


def test_check_goes_on_past_files_without_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """As in ``pyebpf check samples/*.py``, where some are only imported by the others."""
    assert main(["check", str(SAMPLES / "lab.py"), str(SAMPLES / "hello_socket.py")]) == 0
    done = capsys.readouterr()
    assert "lab.py: no programs" in done.out
    assert "keep_four: 2 instructions" in done.out
    assert main(["check", str(SAMPLES / "lab.py")]) == 2


def test_check_tells_editors_one_object_per_line(wrong: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json", str(wrong), str(SAMPLES / "hello_socket.py")]) == 1
    done = capsys.readouterr()
    assert done.err == ""
    (line,) = done.out.splitlines()
    told = json.loads(line)
    assert told["file"] == str(wrong)
    assert told["range"] == {"start": {"line": 6, "column": 12}, "end": {"line": 6, "column": 26}}
    assert (told["code"], told["labels"], told["notes"]) == ("E0201", [], [])
    assert told["message"] == "the name `undefined_name` is not defined"
    assert set(told) == {"file", "range", "code", "message", "label", "labels", "notes", "help"}
    assert main(["check", "--json", str(SAMPLES / "lab.py"), str(SAMPLES / "hello_socket.py")]) == 0
    assert capsys.readouterr().out == ""


def test_loading_is_about_the_running_kernel(wrong: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = running_target().arch
    (other,) = set(Arch) - {own}
    for options in (["--kernel", "6.1"], ["--isa", "3"], ["--arch", other.value]):
        assert main(["check", "--load", *options, str(wrong)]) == 2
        assert "--load asks the running kernel" in capsys.readouterr().err
    assert main(["check", "--load", "--arch", own.value, str(wrong)]) == 1
    assert "undefined_name" in capsys.readouterr().err


def test_build_can_pick_programs(wrong: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(wrong)]) == 1
    assert "error[" in capsys.readouterr().err
    assert main(["build", str(wrong), "-p", "right", "-o", str(tmp_path / "right.o")]) == 0
    assert main(["build", str(wrong), "-p", "other"]) == 2


@pytest.mark.parametrize("stage", stage_names())
def test_every_stage_can_be_dumped(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dump", str(SAMPLES / "packet_events.py"), "--stage", stage]) == 0
    assert "packet_events" in capsys.readouterr().out


@pytest.mark.parametrize("stage", ["asm", "btf", "elf"])
def test_objects_can_be_dumped(stage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["build", str(SAMPLES / "packet_events.py"), "-o", str(tmp_path / "x.o")])
    assert main(["dump", str(tmp_path / "x.o"), "--stage", stage]) == 0
    assert "packet_events" in capsys.readouterr().out


def test_assembly_stands_beside_the_python_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dump", str(SAMPLES / "protocol_count.py")]) == 0
    assert "packets[protocol] += 1" in capsys.readouterr().out


@pytest.mark.parametrize("code", sorted(c.name for c in Code))
def test_every_code_is_explained(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", code]) == 0
    text = capsys.readouterr().out
    assert "Wrong:" in text
    assert "Right:" in text


def test_explain_lists_the_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(Code)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["build", "/nonexistent.py"], "there is no file"),
        (["explain", "E9999"], "there is no code"),
        (["dump", str(SAMPLES / "hello_socket.py"), "--stage", "soup"], "there is no stage"),
        (["build", str(SAMPLES / "lab.py")], "has no programs"),
        (["build", str(SAMPLES / "hello_socket.py"), "--kernel", "new"], "not a kernel release"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_files_may_not_load_while_they_are_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "loads_at_import.py"
    path.write_text(WRONG + "\nright.load()\n")
    assert main(["check", str(path)]) == 1
    assert '`if __name__ == "__main__":`' in capsys.readouterr().err
