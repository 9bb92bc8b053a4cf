"""The objects that are compared: pyebpf's, clang's, and LLVM's from pyebpf's SSA where llvmlite is installed."""

from __future__ import annotations

import functools
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.cases import Case
from pyebpf.backend.elf import read_object
from pyebpf.cli import import_file, programs_of
from pyebpf.declare import ProgramDecl
from pyebpf.diagnostics import PyebpfError
from pyebpf.driver import Codegen, compile_programs, running_target
from pyebpf.object import ObjectSpec

ISA: Final = 3
_NAMES: Final = ("clang", *(f"clang-{version}" for version in range(30, 10, -1)))


class BuildError(PyebpfError):
    """A compiler is missing or does not take a program."""


@dataclass(frozen=True, slots=True)
class Clang:
    """A clang: its path, and the version that it states."""

    path: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{Path(self.path).name} {'.'.join(map(str, self.version))}"


def find_clang(name: str | None = None) -> Clang:
    """The clang ``name``, or the newest one of this machine. Raises ``BuildError`` if there is none."""
    found = [clang for one in ([name] if name else _NAMES) if (clang := _clang(one)) is not None]
    if not found:
        raise BuildError(f"there is no {name or 'clang'} on this machine: install clang")
    return max(found, key=lambda clang: clang.version)


def _clang(name: str) -> Clang | None:
    path = shutil.which(name)
    if path is None:
        return None
    stated = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"version (\d+)\.(\d+)\.(\d+)", stated)
    return Clang(path, tuple(map(int, version.groups()))) if version else None


def _includes() -> Sequence[str]:
    """Where <asm/types.h> is: clang does not look into the folder of the machine when it compiles for BPF."""
    return [f"-I{path}" for path in Path("/usr/include").glob(f"{platform.machine()}-linux-*")]


@functools.cache
def _programs(path: Path) -> tuple[ProgramDecl, ...]:
    return tuple(programs_of(import_file(path)))


def with_pyebpf(case: Case, codegen: Codegen = Codegen.PYEBPF) -> bytes:
    """The object file that pyebpf makes of the Python program, for the running kernel."""
    return compile_programs(_programs(case.python), running_target(), codegen=codegen).elf()


def with_clang(case: Case, clang: Clang, source: Path | None = None) -> bytes:
    """The object file that clang makes of the C program, or of another ``source``.

    Raises ``BuildError`` with what clang says.
    """
    return compile_c(source or case.c, clang)


def compile_c(source: Path, clang: Clang) -> bytes:
    """The object file that clang makes of ``source``. Raises ``BuildError`` with what clang says."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / f"{source.stem}.o"
        options = ["-O2", "-g", "-Wall", "-target", "bpf", f"-mcpu=v{ISA}", *_includes()]
        done = subprocess.run(
            [clang.path, *options, "-c", str(source), "-o", str(output)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BuildError(f"{clang} does not compile {source.name}:\n{done.stderr}")
        return output.read_bytes()


def spec_of(data: bytes, case: Case) -> ObjectSpec:
    """An object file, read by the one reader for all compilers."""
    return read_object(data, f"{case.name}.o")
