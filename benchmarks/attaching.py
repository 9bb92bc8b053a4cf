"""How long it takes until a tool traces: ``python -m benchmarks.attaching``, as root.

``samples/opensnoop.py`` from the start of its process to its first line about a file, with its programs in
the cache of compiled objects and without, beside bpftrace on the same tracepoints, and on one of them without a look at
its arguments. bpftrace says that it begins before it attaches, so the first line about a file that is opened all the time is
waited for, in all of them. Python runs as in ``benchmarks.startup``. The runs take turns, so that other load meets all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.startup import ROOT, clean_environment, install

GOAL: Final = 44
"""Milliseconds for the sample with a warm cache."""

CALLS: Final = ("open", "openat", "openat2")
OPENSNOOP: Final = (
    " ".join(
        f"tracepoint:syscalls:sys_enter_{call} {{ @path[tid] = args->filename; }} "
        f"tracepoint:syscalls:sys_exit_{call} /@path[tid]/ "
        '{ printf("%d %s %d %s\\n", pid, comm, args->ret, str(@path[tid])); delete(@path[tid]); }'
        for call in CALLS
    ),
    'tracepoint:syscalls:sys_enter_openat { printf("%s\\n", comm); }',
)
OPENED: Final = "/etc/hostname"


@dataclass(slots=True)
class Tool:
    """A command that traces. ``before`` runs before each time and is not measured. ``wall``: milliseconds."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    before: Callable[[], object] = lambda: None
    wall: list[float] = field(default_factory=list)

    def once(self, *, keep: bool) -> None:
        """Run it until its first event. Raises ``RuntimeError`` where it ends before."""
        self.before()
        begin = time.perf_counter()
        with subprocess.Popen(
            self.command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            seen = any(self.is_event(line) for line in process.stdout)
            took = time.perf_counter() - begin
            process.send_signal(signal.SIGINT)
        if not seen:
            raise RuntimeError(f"{self.name} ended with status {process.returncode} and saw nothing")
        if keep:
            self.wall.append(took * 1e3)

    @staticmethod
    def is_event(line: str) -> bool:
        """Whether a line of the output tells of a file that ``opening`` opens, or of who does."""
        return OPENED in line or line.strip() == Path("/proc/self/comm").read_text().strip()


@contextmanager
def opening() -> Iterator[None]:
    """Meanwhile a file is opened every half millisecond."""
    done = threading.Event()

    def run() -> None:
        while not done.wait(0.0005):
            os.close(os.open(OPENED, os.O_RDONLY))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def tools(folder: Path) -> list[Tool]:
    """Everything that is measured."""
    environment = {**clean_environment(), "PYTHONUNBUFFERED": "1"}
    full, empty = folder / "cache", folder / "empty"
    command = [str(install(folder / "venv")), str(ROOT / "samples" / "opensnoop.py")]
    found = [
        Tool("cached", command, {**environment, "PYEBPF_CACHE_DIR": str(full)}),
        Tool(
            "cold",
            command,
            {**environment, "PYEBPF_CACHE_DIR": str(empty)},
            lambda: shutil.rmtree(empty, ignore_errors=True),
        ),
    ]
    bpftrace = shutil.which("bpftrace")
    if bpftrace is not None:
        names = ("bpftrace", "bpftrace, one, no arguments")
        found += (Tool(n, [bpftrace, "-e", s], environment) for n, s in zip(names, OPENSNOOP, strict=True))
    return found


def table(found: Sequence[Tool]) -> str:
    """The medians, and each as a part of the time of bpftrace."""
    medians = {tool.name: statistics.median(tool.wall) for tool in found}
    lines = [f"{'opensnoop, ms':<28}{'median':>8}{'least':>8}{'/ bpftrace':>12}"]
    for tool in found:
        line = f"{tool.name:<28}{medians[tool.name]:>8.1f}{min(tool.wall):>8.1f}"
        if "bpftrace" in medians:
            line += f"{medians[tool.name] / medians['bpftrace']:>12.2f}"
        if tool.name == "cached":
            line += f"   goal {GOAL}: {'met' if medians[tool.name] < GOAL else 'missed'}"
        lines.append(line)
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status is 0 whatever the times are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attaching", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each tool runs (5)")
    rounds: int = parser.parse_args(arguments).rounds
    with tempfile.TemporaryDirectory() as folder:
        found = tools(Path(folder))
        for keep in (False, *[True] * rounds):
            for tool in found:
                with opening():
                    tool.once(keep=keep)
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
