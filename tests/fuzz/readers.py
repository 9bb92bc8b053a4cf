"""Give the readers of objects mutated ones: they answer with an object or with their own exceptions, soon, in little memory.

At least 200,000 inputs, as every release has to pass (some minutes on two cores)::

    python -m tests.fuzz.readers --count 200000 --seed 0

The inputs are whole objects, ``.BTF`` sections and ``.BTF.ext`` sections by turns, of the hand-written specs of the
tests, of the samples, and of every clang that is installed. ``--seed N --count 1`` gives input number N again.
"""

from __future__ import annotations

import argparse
import contextlib
import enum
import functools
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pyebpf import btf
from pyebpf.backend.elf import ElfError, describe_object, read_object, write_object
from pyebpf.backend.elf_file import parse
from pyebpf.cli import UsageError, import_file, programs_of
from pyebpf.driver import build_target, compile_programs
from tests.fuzz import mutations
from tests.unit.btf.samples import every_kind
from tests.unit.elf.clang import FOLDER, SOURCES
from tests.unit.elf.samples import externs, full, minimal, tables

SECONDS = 2
"""CPU time that one input may take: other processes do not count."""
MEMORY = 1 << 30
"""Bytes of address space that a process may take on top of what it has when it begins."""
CHUNK = 500
SAMPLES = Path(__file__).parents[2] / "samples"
CLANGS = ("clang", "clang-14", "clang-16", "clang-18", "clang-19", "clang-20")


class Level(enum.Enum):
    """What is mutated and read."""

    OBJECT = "objects"
    TYPES = ".BTF sections"
    RECORDS = ".BTF.ext sections"


class Answer(enum.Enum):
    """What came of an input; the first two are as it should be."""

    READ = "read"
    REFUSED = "refused"
    FAILED = "failed"


class _Late(BaseException):
    """The time limit has passed."""


@dataclass(slots=True)
class Tally:
    """What became of a series of inputs. ``slowest`` in seconds, ``memory`` in bytes: the peak of a process."""

    answers: Counter[tuple[Level, Answer]] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)
    slowest: float = 0.0
    memory: int = 0

    def add(self, other: Tally) -> None:
        """Take over the numbers of another series."""
        self.answers.update(other.answers)
        self.failures += other.failures
        self.slowest = max(self.slowest, other.slowest)
        self.memory = max(self.memory, other.memory)


def _compiled_samples() -> Iterator[bytes]:
    """Our objects of the samples."""
    for path in sorted(SAMPLES.glob("*.py")):
        with contextlib.suppress(ImportError, UsageError):  # a package is missing; not a program
            programs = programs_of(import_file(path), [])
            yield compile_programs(programs, build_target()).elf()


def _of_clang() -> Iterator[bytes]:
    """The objects that each clang makes, for two levels of the instruction set and both byte orders."""
    found = {Path(path).resolve(): path for name in CLANGS if (path := shutil.which(name))}
    for clang in found.values():
        for name in SOURCES:
            for target, level in (("bpf", "-mcpu=v3"), ("bpf", "-mcpu=v1"), ("bpfeb", "-mcpu=v3")):
                command = [clang, "-O2", "-g", "-target", target, level, "-Wno-everything"]
                done = subprocess.run(
                    [*command, "-c", str(FOLDER / f"{name}.c"), "-o", "-"], capture_output=True, check=False
                )
                if done.returncode == 0:
                    yield done.stdout


@functools.cache
def objects() -> tuple[bytes, ...]:
    """The objects that mutations start from."""
    written = [write_object(sample()) for sample in (minimal, full, tables, externs)]
    return (*written, *_compiled_samples(), *_of_clang())


@functools.cache
def _sections() -> tuple[dict[str, bytes], ...]:
    found = [{s.name: s.data for s in parse(data).sections} for data in objects()]
    return tuple(sections for sections in found if ".BTF.ext" in sections)


@functools.cache
def type_sections() -> tuple[bytes, ...]:
    """The ``.BTF`` sections that mutations start from."""
    return (btf.encode(every_kind()).data, *(sections[".BTF"] for sections in _sections()))


@functools.cache
def record_sections() -> tuple[tuple[bytes, btf.Spec], ...]:
    """The ``.BTF.ext`` sections, each with its types."""
    return tuple((sections[".BTF.ext"], btf.Spec(sections[".BTF"])) for sections in _sections())


def level_of(seed: int) -> Level:
    """Of four inputs two are objects."""
    return (Level.OBJECT, Level.TYPES, Level.OBJECT, Level.RECORDS)[seed % 4]


def read(seed: int) -> Answer:
    """Make input number ``seed`` and read all of it; lets through whatever is not a reader's own exception."""
    choose = random.Random(seed)
    match level_of(seed):
        case Level.OBJECT:
            data = mutations.mutate(choose.choice(objects()), mutations.ELF, choose)
            return _read_object(data)
        case Level.TYPES:
            data = mutations.mutate(choose.choice(type_sections()), mutations.TYPES, choose)
            return _read_types(data)
        case Level.RECORDS:
            contents, types = choose.choice(record_sections())
            try:
                btf.decode_ext(mutations.mutate(contents, mutations.RECORDS, choose), types)
            except btf.BtfError:
                return Answer.REFUSED
            return Answer.READ


def _read_object(data: bytes) -> Answer:
    try:
        read_object(data, "mutated.o")
    except ElfError:
        answer = Answer.REFUSED
    else:
        answer = Answer.READ
    with contextlib.suppress(ElfError):
        describe_object(data)
    return answer


def _read_types(data: bytes) -> Answer:
    try:
        spec = btf.Spec(data)
        for type_ in spec.build_all():
            btf.layout_of(type_)
        btf.dump(spec)
    except btf.BtfError:
        return Answer.REFUSED
    return Answer.READ


def _expire(number: int, frame: object) -> None:
    raise _Late


def read_series(seeds: range) -> Tally:
    """Read the inputs with these numbers, each within the time limit."""
    tally = Tally()
    objects(), type_sections(), record_sections()  # made once, in nobody's time
    before = signal.signal(signal.SIGPROF, _expire)
    try:
        for seed in seeds:
            start = time.process_time()
            try:
                signal.setitimer(signal.ITIMER_PROF, SECONDS)
                answer = read(seed)
            except _Late:
                answer = Answer.FAILED
                tally.failures.append((seed, f"more than {SECONDS} s"))
            except Exception:
                answer = Answer.FAILED
                tally.failures.append((seed, traceback.format_exc(limit=-3)))
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            tally.answers[level_of(seed), answer] += 1
            tally.slowest = max(tally.slowest, time.process_time() - start)
    finally:
        signal.signal(signal.SIGPROF, before)
    tally.memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return tally


def _limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def report(tally: Tally) -> str:
    """The answers by level, and the extremes."""
    lines = []
    for level in Level:
        counts = ", ".join(f"{tally.answers[level, answer]} {answer.value}" for answer in Answer)
        total = sum(tally.answers[level, answer] for answer in Answer)
        lines.append(f"{total:8} {level.value}: {counts}")
    lines.append(f"the slowest took {tally.slowest:.2f} s, a process at most {tally.memory >> 20} MiB")
    return "\n".join(lines)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=200_000, help="how many inputs")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many processes")
    args = parser.parse_args()
    start, tally = time.monotonic(), Tally()
    print(
        f"{len(objects())} objects, {len(type_sections())} .BTF and {len(record_sections())} .BTF.ext sections to begin with"
    )
    last = args.seed + args.count
    chunks = [range(at, min(at + CHUNK, last)) for at in range(args.seed, last, CHUNK)]
    with multiprocessing.get_context("fork").Pool(args.jobs, _limit_memory) as pool:
        for part in pool.imap_unordered(read_series, chunks):
            tally.add(part)
    for seed, text in sorted(tally.failures)[:10]:
        print(f"input {seed}, one of the {level_of(seed).value}:\n{text}")
    print(report(tally))
    failed = len(tally.failures)
    print(
        f"{args.count} inputs from seed {args.seed} in {time.monotonic() - start:.0f} s: {failed or 'none'} failed"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
