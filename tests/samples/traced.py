"""What each tracing sample is given to see, and what it must say of it.

A sample runs as a user runs it, for some seconds; when it says that it traces, the workload runs. ``{pid}`` in what is
expected is the process of the workload.
"""

from __future__ import annotations

import contextlib
import enum
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
LIMIT = 240
"""Seconds that a sample may take; guests are slow."""


class Needs(enum.Enum):
    """What a kernel must have."""

    NOTHING = "what all kernels have"
    KPROBES = "kprobes"
    TRAMPOLINES = "programs on functions by type (fentry, fmod_ret, lsm)"


@dataclass(frozen=True, slots=True)
class Traced:
    """``expected`` is searched for in what the sample prints; the workload's text takes the place of ``{text}``."""

    workload: Callable[[], str]
    expected: str
    needs: Needs = Needs.NOTHING


def in_process(code: str) -> str:
    """Run Python in a process of its own; its number."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    process.wait(LIMIT)
    return str(process.pid)


def write() -> str:
    return in_process(
        "import os; fd = os.open('/dev/null', os.O_WRONLY)\n"
        "for _ in range(17): os.write(fd, bytes(100))\n"
        "for _ in range(5): os.write(fd, bytes(5000))"
    )


def open_files() -> str:
    return in_process(
        "import os; os.open('/etc/hostname', 0)\ntry: os.open('/no/such/file', 0)\nexcept OSError: pass"
    )


def execute() -> str:
    process = subprocess.Popen(["/bin/echo", "one", "two three"], stdout=subprocess.DEVNULL)
    process.wait(LIMIT)
    return str(process.pid)


def sleep() -> str:
    return in_process("import time; time.sleep(0.2); time.sleep(0.2)")


def connect() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        in_process(f"import socket; socket.create_connection(('127.0.0.1', {port}))")
    return str(port)


def remove() -> str:
    handle, path = tempfile.mkstemp(prefix="removed-")
    os.close(handle)
    os.unlink(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink("/no/such/file")
    return path


def work() -> str:
    return in_process("import time\nend = time.monotonic() + 1\nwhile time.monotonic() < end: pass")


def type_line() -> str:
    """An interactive shell on a terminal, in which somebody types."""
    child, terminal = os.forkpty()
    if child == 0:
        os.execv("/bin/bash", ["bash", "--norc", "--noprofile", "-i"])
    for line in (b"echo typed-$((6 * 7))\n", b"exit\n"):
        end, seen = time.monotonic() + 20, b""
        while time.monotonic() < end and not seen.endswith(b"$ ") and not seen.endswith(b"# "):
            if select.select([terminal], [], [], 0.5)[0]:
                seen += os.read(terminal, 4096)
        os.write(terminal, line)
    with contextlib.suppress(OSError):
        while os.read(terminal, 4096):
            pass
    os.waitpid(child, 0)
    os.close(terminal)
    return "echo typed-$((6 * 7))"


def use_bpf() -> str:
    code = (
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "libc.syscall(321, 0, 0, 0)\n"  # BPF_MAP_CREATE with nothing, which is refused for another reason otherwise
        "os._exit(ctypes.get_errno())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=LIMIT)
    assert done.returncode == 1, f"errno {done.returncode}, EPERM is 1"
    return ""


def open_forbidden() -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "forbidden.txt"
        try:
            path.write_text("")
        except PermissionError:
            return ""
    raise AssertionError("the file could be opened")


def nothing() -> str:
    return str(os.getpid())


TRACED: dict[str, Traced] = {
    "write_sizes": Traced(
        write,
        r"pid {text} uid 0\n.*\n *64 -> 127 : 17 .*\n(.* : 0 .*\n)* *4096 -> 8191 : 5 ",
        Needs.KPROBES,
    ),
    "opensnoop": Traced(
        open_files,
        r"\n{text} +python\S* +\d+ +0 /etc/hostname\n(.*\n)*?{text} +python\S* +-1 +2 /no/such/file\n",
    ),
    "execsnoop": Traced(execute, r"\necho +{text} +\d+ +0 /bin/echo one two three\n"),
    "syscall_latency": Traced(sleep, r"SYSCALL +CALLS .*\n(.*\n)* +\d+ +\d+ +\d+\.\d +\d{{6,}}\.\d\n"),
    "tcp_connect": Traced(connect, r"python\S* +127\.0\.0\.1 +127\.0\.0\.1 +{text}\n", Needs.TRAMPOLINES),
    "unlink_probe": Traced(remove, r"\n\d+ 0 {text}\n(.*\n)*?\d+ -2 /no/such/file\n", Needs.KPROBES),
    "runqlat": Traced(sleep, r"usecs +: count +distribution\n(.* : \d+ +\|\**( )*\|\n)+"),
    "profile_stacks": Traced(work, r"\n[1-9]\d* samples: python\S* \({text}\)\n"),
    "bash_readline": Traced(type_line, r"\n\d+ {text}\n"),
    "task_list": Traced(nothing, r"PID +TGID +PPID COMM\n(.*\n)* +{text} +{text} +\d+ "),
    "deny_bpf": Traced(use_bpf, r"\n[1-9]\d* calls refused\n", Needs.TRAMPOLINES),
    "deny_open": Traced(open_forbidden, r"\n1 times refused\n", Needs.TRAMPOLINES),
}


def said(name: str, seconds: float) -> tuple[str, str]:
    """What the sample printed while its workload ran, and the workload's text."""
    traced = TRACED[name]
    command = [sys.executable, str(SAMPLES / f"{name}.py")]
    takes_time = "seconds(" in (SAMPLES / f"{name}.py").read_text()
    text = "" if takes_time else traced.workload()
    path = ":".join(filter(None, (os.environ.get("PYTHONPATH"), str(SAMPLES.parent))))
    with subprocess.Popen(
        [*command, "--seconds", str(seconds)] if takes_time else command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        first = process.stdout.readline() if takes_time else ""
        if takes_time and not first.startswith("tracing"):
            raise AssertionError(first + process.stderr.read())
        if takes_time:
            text = traced.workload()
        rest, errors = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, errors
        assert errors == ""
    return first + rest, text


def check(name: str, seconds: float) -> None:
    """Run a sample with its workload; fail if it does not say what it must."""
    output, text = said(name, seconds)
    pattern = TRACED[name].expected.format(text=re.escape(text))
    assert re.search(pattern, output), f"{pattern}\nnot in\n{output}"
