"""What is compared: each sample with the tool that it is named after, on one workload."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.side_by_side.tools import beside, bpftrace

HERE = Path(__file__).resolve().parent
TOOLS = Path("/usr/sbin")
"""Where Debian's package of bpftrace puts the tools that come with it."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What both tools say of the workload, in the same form; ``detail`` is the judge's summary."""

    ours: Sequence[object]
    theirs: Sequence[object]
    detail: str
    equal: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """``compare`` gets what ours and theirs printed, and what the workload returned. ``begins`` is in the line that theirs
    begins with."""

    sample: str
    script: Path
    begins: str
    workload: Callable[[], str]
    compare: Callable[[str, str, str], Compared]

    def run(self) -> Compared:
        """Run both beside each other, and compare."""
        return self.compare(*beside(self.sample, self.script, self.begins, self.workload))


def _in_child(work: Callable[[], object]) -> str:
    """Run ``work`` in a fork of this process; its number."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return str(child)


# ---------------------------------------------------------------- opensnoop

_OPEN = 2  # the number of open(2) on x86-64, which libraries do not use any more
_FILES = (
    "/etc/hostname",
    "/no/such/file",
    "/proc/self/status",
    "/etc/passwd/under-a-file",
    "/" + "long/" * 20 + "name",
    "/tmp",
    "relative",
    "/path with blanks/ä",
    "",
)


def _open_files() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for _ in range(20):
        for path in _FILES:
            for found in (
                libc.openat(-100, path.encode(), os.O_RDONLY),
                libc.syscall(_OPEN, path.encode(), os.O_RDONLY) if os.uname().machine == "x86_64" else -1,
            ):
                if found >= 0 and found % 2:  # so that numbers differ
                    os.close(found)


def _opened(text: str, pid: str) -> list[str]:
    """Name, descriptor, error and path of each row."""
    rows = re.findall(rf"^{pid} +(\S+) +(-?\d+) +(\d+) (.*)$", text, re.MULTILINE)
    return [" ".join(row) for row in rows]


def _same_rows(rows: Callable[[str, str], list[str]]) -> Callable[[str, str, str], Compared]:
    def compare(ours: str, theirs: str, name: str) -> Compared:
        mine, other = rows(ours, name), rows(theirs, name)
        detail = f"{len(mine)} and {len(other)} rows of the workload"
        return Compared(mine, other, detail, mine == other and bool(mine))

    return compare


# ---------------------------------------------------------------- execsnoop

_COMMANDS = (
    ["/bin/echo", "one", "two three", ""],
    ["/bin/true"],
    ["/usr/bin/env", "sh", "-c", "exec /bin/true inner"],
    ["/bin/echo", *[f"argument-{number}" for number in range(15)]],
    ["/bin/echo", "x" * 100],
    ["/no/such/program", "-v"],
)


def _execute() -> str:
    """The numbers of the processes."""
    pids = []
    for command in _COMMANDS * 5:
        child = os.fork()
        if child == 0:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            try:
                os.execv(command[0], command)
            finally:
                os._exit(1)
        os.waitpid(child, 0)
        pids.append(child)
    return "|".join(str(pid) for pid in pids)


def _ours_executed(text: str, pids: str) -> list[str]:
    rows = re.findall(rf"^\S+ +({pids}) +{os.getpid()} +-?\d+ (.*)$", text, re.MULTILINE)
    return [" ".join(row).rstrip() for row in rows]


def _theirs_executed(text: str, pids: str) -> list[str]:
    rows = re.findall(rf"^\d+ +({pids}) +(.*)$", text, re.MULTILINE)
    return [" ".join(row).rstrip() for row in rows]


def _same_commands(ours: str, theirs: str, pids: str) -> Compared:
    mine, other = _ours_executed(ours, pids), _theirs_executed(theirs, pids)
    return Compared(mine, other, f"{len(mine)} and {len(other)} programs", mine == other and bool(mine))


# ---------------------------------------------------------------- syscalls

_CALLS = {"getpgid": 1234, "sched_rr_get_interval": 77, "getpriority": 300, "sync_file_range": 5}
"""Calls that nothing else makes while the tools run, and how often the workload does."""
_NUMBERS = {
    "x86_64": {"getpgid": 121, "sched_rr_get_interval": 148, "getpriority": 140, "sync_file_range": 277}
}


def _numbers() -> dict[str, int]:
    return _NUMBERS[os.uname().machine]


def _call() -> None:
    libc = ctypes.CDLL(None)
    for name, times in _CALLS.items():
        for _ in range(times):
            libc.syscall(_numbers()[name], 0, 0, 0, 0)


def _same_counts(ours: str, theirs: str, _: str) -> Compared:
    mine = {int(n): int(c) for n, c in re.findall(r"^ *(\d+) +(\d+) +\S+ +\S+$", ours, re.MULTILINE)}
    other = {int(n): int(c) for n, c in re.findall(r"^@calls\[(\d+)\]: (\d+)$", theirs, re.MULTILINE)}
    numbers = _numbers()
    rows, their_rows = ([f"{name} {found.get(numbers[name])}" for name in _CALLS] for found in (mine, other))
    right = [f"{name} {times}" for name, times in _CALLS.items()]
    return Compared(rows, their_rows, f"the workload made {', '.join(right)}", rows == their_rows == right)


# ---------------------------------------------------------------- run queue

_TOLERANCE = 0.02
"""Both begin and end at different moments."""


def _switch() -> None:
    """Two tasks on one CPU that hand a byte to each other, and one that is in their way."""
    cpu = {max(os.sched_getaffinity(0))}
    busy = subprocess.Popen(
        ["/bin/sh", "-c", "while :; do :; done"], preexec_fn=lambda: os.sched_setaffinity(0, cpu)
    )
    os.sched_setaffinity(0, cpu)
    there, back = os.pipe(), os.pipe()
    if os.fork() == 0:
        os.close(there[1])
        while os.read(there[0], 1):
            os.write(back[1], b"x")
        os._exit(0)
    os.close(there[0])
    end = time.monotonic() + 4
    while time.monotonic() < end:
        os.write(there[1], b"x")
        os.read(back[0], 1)
    os.close(there[1])
    busy.kill()
    busy.wait()


def _ours_waited(text: str) -> Counter[int]:
    """Counts by the lower end of their bucket; 0 and 1 are in one for us, and in two for bpftrace."""
    rows = re.findall(r"^ *(\d+) -> \d+ +: (\d+) ", text, re.MULTILINE)
    return Counter({int(low): int(count) for low, count in rows})


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}


def _theirs_waited(text: str) -> Counter[int]:
    found: Counter[int] = Counter()
    for low, unit, count in re.findall(
        r"^[\[(](?:\.\.\., )?(\d+)([KM]?)[,\])].*? (\d+) \|", text, re.MULTILINE
    ):
        value = int(low) * _UNITS[unit]
        found[0 if value < 2 else value] += int(count)
    return found


def _same_histogram(ours: str, theirs: str, _: str) -> Compared:
    """Both take the time at different moments of one event, so a wait may be in the next bucket; not in one behind it."""
    mine, other = _ours_waited(ours), _theirs_waited(theirs)
    total = max(mine.total(), other.total())
    slack = total * _TOLERANCE
    lows = sorted({*mine, *other})
    shifted = all(
        a <= b + slack
        for found in ((mine, other), (other, mine))
        for a, b in _next_to_each_other(*found, lows)
    )
    apart = sum(((mine - other) + (other - mine)).values()) / 2
    close = total > 10_000 and abs(mine.total() - other.total()) <= slack and apart <= total / 4
    waits = f"{mine.total()} and {other.total()} waits, {apart / max(total, 1):.2%} in the next bucket"
    rows, their_rows = (
        [f"{low} us: {count}" for low, count in sorted(found.items())] for found in (mine, other)
    )
    return Compared(rows, their_rows, waits, close and shifted)


def _next_to_each_other(
    first: Counter[int], second: Counter[int], lows: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """How many of ``first`` are below each bucket, and how many of ``second`` below the next one."""
    for at in range(1, len(lows)):
        yield sum(first[low] for low in lows[:at]), sum(second[low] for low in lows[: at + 1])


PAIRS: dict[str, Pair] = {
    "opensnoop": Pair(
        "opensnoop", TOOLS / "opensnoop.bt", "Tracing", lambda: _in_child(_open_files), _same_rows(_opened)
    ),
    "execsnoop": Pair("execsnoop", TOOLS / "execsnoop.bt", "ARGS", _execute, _same_commands),
    "syscalls": Pair(
        "syscall_latency", HERE / "syscount.bt", "tracing", lambda: _in_child(_call), _same_counts
    ),
    "runqlat": Pair("runqlat", HERE / "runqlat.bt", "tracing", lambda: _in_child(_switch), _same_histogram),
}


def obstacle() -> str | None:
    """Why nothing can be compared here."""
    if os.geteuid() != 0:
        return "tracing needs root"
    if os.uname().machine not in _NUMBERS:
        return f"the numbers of system calls on {os.uname().machine} are not known here"
    if bpftrace() is None or not all(pair.script.exists() for pair in PAIRS.values()):
        return "bpftrace and its tools are not installed"
    return None
