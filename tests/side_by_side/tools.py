"""Two tools that run beside each other, and what they printed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
LIMIT = 120
"""Seconds that a tool may take to begin or to end."""


def bpftrace() -> str | None:
    """Where bpftrace is; Debian has its tools beside it."""
    return shutil.which("bpftrace", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/sbin")


class Running:
    """A tool while it traces. ``text``: what it printed until now; all of it after ``stop``."""

    def __init__(self, command: list[str], *, begins: str) -> None:
        environment = {**os.environ, "BPFTRACE_STRLEN": "128", "PYTHONUNBUFFERED": "1"}
        self._command = " ".join(command)
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        self._begins = begins
        self._lines: list[str] = []
        self._began = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)
            if self._begins in line:
                self._began.set()
        self._began.set()

    def begin(self) -> None:
        """Wait until it traces. Raises ``RuntimeError`` if it ends before."""
        if not self._began.wait(LIMIT) or self._process.poll() is not None:
            self._process.kill()
            raise RuntimeError(f"{self._command} does not trace:\n{self.text}")

    def stop(self) -> None:
        """End it as Ctrl-C does. Raises ``RuntimeError`` if it fails."""
        self._process.send_signal(signal.SIGINT)
        try:
            status = self._process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._reader.join(LIMIT)
        if status:
            raise RuntimeError(f"{self._command} ended with status {status}:\n{self.text}")

    @property
    def text(self) -> str:
        """What it printed."""
        return "".join(self._lines)


@contextlib.contextmanager
def _tracing(command: list[str], begins: str) -> Iterator[Running]:
    tool = Running(command, begins=begins)
    try:
        tool.begin()
        yield tool
    finally:
        tool.stop()


def beside(sample: str, script: Path, workload: Callable[[], str]) -> tuple[str, str, str]:
    """Run ``samples/<sample>.py`` and bpftrace's ``script`` while the workload runs: what both printed, and what the
    workload returned."""
    program = bpftrace()
    assert program is not None
    ours = _tracing([sys.executable, str(SAMPLES / f"{sample}.py")], "tracing")
    theirs = _tracing([program, str(script)], "racing")
    with contextlib.ExitStack() as stack:
        tools = [stack.enter_context(tool) for tool in (theirs, ours)]
        name = workload()
        settled(tools)
    return tools[1].text, tools[0].text, name


def settled(tools: list[Running]) -> None:
    """Wait until nothing more comes from the tools: both print what they see within some tenths of a second."""
    lengths = None
    pause = threading.Event()
    while lengths != (lengths := [len(tool.text) for tool in tools]):
        pause.wait(1.0)
