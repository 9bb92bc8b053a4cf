"""How long it takes to start: ``python -m benchmarks.startup``, as root.

Whole processes, from their start to their end: bare Python, ``import pyebpf``, a file with a program from source to
the loaded program with an empty cache (cold) and with its entry in it (cached), beside clang on the same program in
C (which loads nothing) and bpftrace on a program that does nothing. Python runs in a virtual environment made for this,
with the package installed as users install it: what finds an editable checkout costs every Python process some ten
milliseconds. Bytecode is compiled beforehand. The runs take turns, so that other load meets all of them.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PROGRAMS: Final = Path(__file__).resolve().parent / "start"
LOAD: Final = "import count_by_protocol; count_by_protocol.count_by_protocol.load()"
GOALS: Final = {"import pyebpf": 25, "cold": 150, "cached": 40}
"""Milliseconds; that of ``import pyebpf`` is above bare Python."""


@dataclass(slots=True)
class Run:
    """A command that is measured. ``before`` runs before each time and is not measured. Times in milliseconds."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    before: Callable[[], object] = lambda: None
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def once(self, *, keep: bool) -> None:
        """Run it. Raises ``CalledProcessError`` where it fails."""
        self.before()
        begin = time.perf_counter()
        with subprocess.Popen(
            self.command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - begin
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, self.command)
        if keep:
            self.wall.append(wall * 1e3)
            self.cpu.append((used.ru_utime + used.ru_stime) * 1e3)


def install(folder: Path) -> Path:
    """A virtual environment in ``folder`` that holds the package and finds what it depends on: the path of its Python."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    target = Path(site.stdout.strip())
    shutil.copytree(ROOT / "pyebpf", target / "pyebpf", ignore=shutil.ignore_patterns("__pycache__"))
    (target / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def clean_environment() -> dict[str, str]:
    """The environment of this process without what changes how Python and pyebpf start."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYEBPF"))}


def runs(folder: Path) -> list[Run]:
    """Everything that is measured, as far as it is installed."""
    environment = {**clean_environment(), "PYTHONPATH": str(PROGRAMS)}
    full, empty = folder / "cache", folder / "empty"
    python = [str(install(folder / "venv")), "-c"]
    found = [
        Run("bare Python", [*python, "pass"], environment),
        Run("import pyebpf", [*python, "import pyebpf"], environment),
        Run(
            "cold",
            [*python, LOAD],
            {**environment, "PYEBPF_CACHE_DIR": str(empty)},
            lambda: shutil.rmtree(empty, ignore_errors=True),
        ),
        Run("cached", [*python, LOAD], {**environment, "PYEBPF_CACHE_DIR": str(full)}),
    ]
    clang, bpftrace = shutil.which("clang"), shutil.which("bpftrace")
    if clang is not None:
        include = f"-I/usr/include/{platform.machine()}-linux-gnu"
        source = str(PROGRAMS / "count_by_protocol.bpf.c")
        options = ["-O2", "-g", "-target", "bpf", include, "-c", source, "-o", str(folder / "clang.o")]
        found.append(Run("clang -O2 -g", [clang, *options], environment))
    if bpftrace is not None:
        found.append(Run("bpftrace", [bpftrace, "-e", "BEGIN { exit(); }"], environment))
    return found


def table(found: Sequence[Run]) -> str:
    """The medians, and each as a part of the time of the other tools."""
    rivals = [run for run in found if run.name.startswith(("clang", "bpftrace"))]
    heads = "".join(f"{'/ ' + run.name.split()[0]:>12}" for run in rivals)
    out = [f"{'median, ms':<16}{'wall':>8}{'cpu':>8}{'least':>8}{heads}   goal"]
    bare = statistics.median(found[0].wall)
    for run in found:
        wall, cpu = statistics.median(run.wall), statistics.median(run.cpu)
        line = f"{run.name:<16}{wall:>8.1f}{cpu:>8.1f}{min(run.wall):>8.1f}"
        line += "".join(f"{wall / statistics.median(rival.wall):>12.2f}" for rival in rivals)
        goal = GOALS.get(run.name)
        if goal is not None:
            above = run.name == "import pyebpf"
            value = wall - bare if above else wall
            words = f"{value:.1f} above bare Python, goal {goal}" if above else f"{goal}"
            line += f"   {words}: {'met' if value < goal else 'missed'}"
        out.append(line)
    return "\n".join(out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status is 0 whatever the times are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each command runs (5)")
    rounds: int = parser.parse_args(arguments).rounds
    with tempfile.TemporaryDirectory() as folder:
        found = runs(Path(folder))
        for keep in (False, False, *[True] * rounds):
            for run in found:
                run.once(keep=keep)
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
