"""The generated modules are what the checked-in generator makes of the checked-in input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pyebpf.uapi.tools import generate


@pytest.mark.parametrize("name", sorted(generate.OUTPUTS))
def test_generation_again_gives_the_same(name: str) -> None:
    assert (generate.UAPI / name).read_text() == generate.OUTPUTS[name]()


def test_the_package_does_not_import_the_generator() -> None:
    modules = ("constants", "releases", "helpers", "contexts", "programs")
    code = "import sys\n" + "".join(f"import pyebpf.uapi.{name}\n" for name in modules)
    code += "print([name for name in sys.modules if name.startswith('pyebpf.uapi.tools')])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=generate.UAPI.parents[1]
    )
    assert result.stdout.strip() == "[]"


def test_input_is_facts_and_small() -> None:
    files = sorted((generate.UAPI / "input").iterdir())
    assert [file.suffix for file in files] == [".tsv"] * len(files)
    assert sum(file.stat().st_size for file in files) < 128 * 1024


def test_input_and_tools_are_not_packaged() -> None:
    import tomllib

    root = Path(__file__).resolve().parents[3]
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert "pyebpf.uapi.tools" not in settings["packages"]
    assert not any("tsv" in pattern for patterns in settings["package-data"].values() for pattern in patterns)
