"""Objects as clang makes them, of the C sources in ``c/``."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "c"
SOURCES = tuple(sorted(path.stem for path in FOLDER.glob("*.c")))


@functools.cache
def compile_c(name: str, *flags: str, folder: Path = FOLDER) -> bytes:
    """The object that clang makes of ``name.c`` in a folder, here ``c/``; skips if there is no clang."""
    clang = shutil.which("clang") or shutil.which("clang-14")
    if clang is None:
        pytest.skip("clang is not installed")
    common = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wno-everything"]
    command = [clang, *common, *flags, "-c", str(folder / f"{name}.c"), "-o", "-"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
