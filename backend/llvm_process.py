"""Having LLVM compile a module in another process, and what can go wrong there.

One process is kept for all compilations of this one (``llvm_worker``); a fork of this one starts its own.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading

from pyebpf.backend.llvm_worker import ANSWER, REQUEST, Status
from pyebpf.diagnostics import PyebpfError
from pyebpf.hints import TYPE_CHECKING, assert_never
from pyebpf.records import dataclass, field
from pyebpf.target import Isa

if TYPE_CHECKING:
    from typing import IO, Final


OLDEST: Final = 22
"""The first release of LLVM whose BPF backend is known to take what is written for it (llvmlite 0.50)."""
_STACK_MESSAGE: Final = "BPF stack limit"


class LlvmError(PyebpfError):
    """A module was not compiled by LLVM. ``message`` is what LLVM said."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class LlvmMissing(LlvmError):
    """llvmlite is not installed, or too old."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"LLVM's code generator needs llvmlite ({reason}); install it with the extra `llvm`: pip install '.[llvm]'"
        )


class LlvmRefused(LlvmError):
    """LLVM's BPF backend cannot compile the module: an operation that it does not have, or a mistake of ours in
    the text that it was given."""


class LlvmStackTooLarge(LlvmRefused):
    """A function needs more than the 512 bytes of a frame after LLVM's optimisation."""


class LlvmCrashed(LlvmError):
    """LLVM ended its process: an assertion, or memory ran out."""


@dataclass(slots=True)
class _Worker:
    """The running process and its version of LLVM. ``lock`` keeps the requests of threads apart."""

    process: subprocess.Popen[bytes]
    requests: IO[bytes]
    answers: IO[bytes]
    version: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def receive(self) -> tuple[Status, bytes]:
        """The next answer. Raises ``LlvmCrashed`` if the process has ended."""
        header = self.answers.read(ANSWER.size)
        if len(header) == ANSWER.size:
            status, length = ANSWER.unpack(header)
            message = self.answers.read(length)
            if len(message) == length:
                return Status(status), message
        raise LlvmCrashed(f"the process that runs LLVM has ended with status {self.process.wait()}")

    def ask(self, isa: int, text: bytes) -> tuple[Status, bytes]:
        """The answer to a request."""
        with self.lock:
            try:
                self.requests.write(REQUEST.pack(isa, len(text)) + text)
                self.requests.flush()
            except BrokenPipeError:
                pass  # the answer says how it ended
            return self.receive()

    def stop(self) -> None:
        """End it. Closing the pipe would not do where a fork of this process holds the other end of it, too."""
        self.requests.close()
        self.process.terminate()
        self.process.wait()
        self.answers.close()


_workers: Final[dict[int, _Worker]] = {}
"""By the process that started it: a fork must not share the pipes of its parent."""


def _start() -> _Worker:
    """Start the process. Raises ``LlvmMissing``."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "pyebpf.backend.llvm_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert process.stdin is not None and process.stdout is not None
    worker = _Worker(process, process.stdin, process.stdout)
    status, message = worker.receive()
    worker.version = message.decode()
    if status is Status.MISSING:
        worker.stop()
        raise LlvmMissing(worker.version)
    if int(worker.version.split(".")[0]) < OLDEST:
        worker.stop()
        raise LlvmMissing(f"its LLVM is {worker.version}, {OLDEST} is the oldest that will do")
    return worker


def _worker() -> _Worker:
    """The process of this process, started if need be."""
    mine = _workers.get(os.getpid())
    if mine is not None and mine.process.poll() is None:
        return mine
    started = _start()
    mine = _workers[os.getpid()] = started
    return mine


@atexit.register
def _stop() -> None:
    mine = _workers.pop(os.getpid(), None)
    if mine is not None:
        mine.stop()


def compile_text(text: str, isa: Isa) -> bytes:
    """The object file that LLVM makes of a module in its assembly.

    Raises ``LlvmMissing``, ``LlvmRefused``, ``LlvmStackTooLarge`` or ``LlvmCrashed``.
    """
    status, found = _worker().ask(int(isa), text.encode())
    match status:
        case Status.OBJECT:
            return found
        case Status.ERROR:
            message = found.decode(errors="replace")
            raise (LlvmStackTooLarge if _STACK_MESSAGE in message else LlvmRefused)(message)
        case Status.CRASH:
            raise LlvmCrashed(found.decode(errors="replace"))
        case Status.READY | Status.MISSING:
            raise LlvmCrashed(f"the process that runs LLVM answered {status.name} to a request")
        case _:
            assert_never(status)
