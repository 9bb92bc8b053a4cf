"""What a user installs: one pure Python package, small, with nothing beside it."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a clean copy of the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(copy)], check=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(copy)],
        check=True,
        timeout=300,
    )
    (made,) = folder.glob("*.whl")
    return made


def test_it_is_pure_python_and_small(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    assert wheel.stat().st_size < 1 << 20  # a megabyte, of which the names of 400 files are a tenth


def test_it_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    metadata = next(n for n in names if n.endswith("METADATA")).split("/")[0]
    assert {name.split("/")[0] for name in names} == {"pyebpf", metadata}
    for part in (
        "frontend/tree.py",
        "backend/codegen.py",
        "backend/passes/gvn.py",
        "runtime/load.py",
        "py.typed",
    ):
        assert f"pyebpf/{part}" in names
    assert not [n for n in names if "tools" in n or "input" in n]


def test_it_installs_and_works_alone(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    before = {p.name for p in (tmp_path / "env").rglob("site-packages/*")}
    subprocess.run([python, "-m", "pip", "install", "-q", str(wheel)], check=True, timeout=300)
    added = {p.name for p in (tmp_path / "env").rglob("site-packages/*")} - before
    ours = {
        n
        for n in added
        if n.startswith(("pyebpf", "frontend", "backend", "runtime", "tests", "samples", "benchmarks"))
    }
    assert {n.split("-")[0] for n in ours} == {"pyebpf"}
    sample = ROOT / "samples" / "protocol_count.py"
    command = [str(tmp_path / "env/bin/pyebpf"), "build", str(sample), "-o", str(tmp_path / "made.o")]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=60)
    assert (tmp_path / "made.o").read_bytes()[:4] == b"\x7fELF"
