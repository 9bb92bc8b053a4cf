"""Objects that the host has compiled, with packets and what is right for each: run in a guest without the compiler."""

from __future__ import annotations

import contextlib
import enum
import json
import os
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyebpf.backend.elf_read import read_object
from pyebpf.runtime.errors import BpfError, VerifierError
from pyebpf.runtime.load import load
from tests.differential.limit import Slow, time_limit
from tests.differential.outcome import Outcome, Shape, difference, fill_program_arrays, run_loaded, this_cpu

LOG_LINES = 12
"""Of a verifier log: so many lines from its begin, and as many from its end."""


@dataclass(frozen=True, slots=True)
class Case:
    """An object file. ``expected``: what each run of the last program leaves, one for each of the ``frames``; without any
    the program is only loaded."""

    name: str
    elf: bytes
    shape: Shape
    frames: tuple[bytes, ...]
    expected: tuple[Outcome, ...]


TIME_LIMIT = 300
"""Seconds that one case may take: the verifier needs minutes under emulation for a million instructions."""


class Fate(enum.Enum):
    """What became of a case; only the first is as it should be."""

    RIGHT = "loaded and right"
    DIFFERENT = "different"
    REJECTED = "rejected by the kernel"
    FAILED = "could not be run"
    SLOW = f"took more than {TIME_LIMIT} s"


@dataclass(frozen=True, slots=True)
class Result:
    """``runs``: how many were compared. ``text`` explains what is not right."""

    name: str
    fate: Fate
    runs: int = 0
    text: str = ""


def try_case(case: Case) -> Result:
    """Load it, run it on its packets, compare. The process must be pinned to one CPU."""
    try:
        with time_limit(TIME_LIMIT):
            return _try(case)
    except Slow:
        return Result(case.name, Fate.SLOW)


def _try(case: Case) -> Result:
    try:
        loaded = load(read_object(case.elf))
    except VerifierError as error:
        return Result(case.name, Fate.REJECTED, text=_cut(f"{error}\n{error.log}"))
    except BpfError as error:
        return Result(case.name, Fate.FAILED, text=_cut(str(error)))
    with loaded:
        try:
            fill_program_arrays(case.shape, loaded)
            for number, (frame, right) in enumerate(zip(case.frames, case.expected, strict=True)):
                found = run_loaded(case.shape, loaded, frame, this_cpu())
                if found != right:
                    what = f"packet {frame.hex()}\n{difference(right, found, 'guest')}"
                    return Result(case.name, Fate.DIFFERENT, number, what)
        except BpfError as error:
            return Result(case.name, Fate.FAILED, text=_cut(str(error)))
    return Result(case.name, Fate.RIGHT, len(case.frames))


def _cut(text: str) -> str:
    lines = text.strip().splitlines()
    if len(lines) <= 2 * LOG_LINES:
        return "\n".join(lines)
    return "\n".join([*lines[:LOG_LINES], "…", *lines[-LOG_LINES:]])


@contextlib.contextmanager
def pinned() -> Iterator[None]:
    """Keep this process on its first CPU while the block runs: values of others are other values."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def write_cases(path: Path, cases: Sequence[Case]) -> None:
    """Keep cases for ``read_cases``, in a guest with the same Python and checkout."""
    path.write_bytes(pickle.dumps(tuple(cases)))


def read_cases(path: Path) -> tuple[Case, ...]:
    """The cases that ``write_cases`` has written: our own file of the same run."""
    cases = pickle.loads(path.read_bytes())
    assert isinstance(cases, tuple) and all(isinstance(case, Case) for case in cases)
    return cases


def try_all(cases: Path, results: Path) -> None:
    """In a guest: try all cases of a file, and write what became of each as a line of JSON, at once."""
    with results.open("w", encoding="utf-8") as file, pinned():
        for case in read_cases(cases):
            result = try_case(case)
            line = {"name": result.name, "fate": result.fate.value, "runs": result.runs, "text": result.text}
            file.write(json.dumps(line) + "\n")
            file.flush()


def read_results(path: Path) -> list[Result]:
    """What ``try_all`` has written, up to where the guest was lost if it was."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    return [Result(one["name"], Fate(one["fate"]), one["runs"], one["text"]) for one in found]
