"""Two tools that run beside each other, and what they printed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
LIMIT = 120
"""Seconds that a tool may take to begin or to end."""
PATIENCE = 15
"""Seconds after which it is asked again to end."""


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
        """End it as Ctrl-C does, again and again if need be: bpftrace misses one now and then. Raises ``RuntimeError`` if it
        fails."""
        status = None
        end = time.monotonic() + LIMIT
        while status is None and time.monotonic() < end:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = self._process.wait(PATIENCE)
        if status is None:
            self._process.kill()
            status = self._process.wait()
        self._reader.join(LIMIT)
        if status:
            raise RuntimeError(f"{self._command} ended with status {status}:\n{self.text}")

    @property
    def attached(self) -> int:
        """How many files it has open: links are among them."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

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


def beside(sample: str, script: Path, begins: str, workload: Callable[[], str]) -> tuple[str, str, str]:
    """Run ``samples/<sample>.py`` and bpftrace's ``script`` while the workload runs: what both printed, and what the
    workload returned."""
    program = bpftrace()
    assert program is not None
    ours = _tracing([sys.executable, str(SAMPLES / f"{sample}.py")], "tracing")
    theirs = _tracing([program, str(script)], begins)
    with contextlib.ExitStack() as stack:
        tools = [stack.enter_context(tool) for tool in (theirs, ours)]
        _settled(lambda: [tool.attached for tool in tools])  # bpftrace says that it begins before it attaches
        name = workload()
        _settled(lambda: [len(tool.text) for tool in tools])  # both print within some tenths of a second
    return tools[1].text, tools[0].text, name


def _settled(state: Callable[[], list[int]]) -> None:
    """Wait until ``state`` stays what it is."""
    last = None
    while last != (last := state()):
        time.sleep(1.0)
