"""One process with one fault in it: the changed module is compiled in memory, the files stay as they are.

``python -m tests.differential.plant NAME --seed S --limit N`` judges programs until one shows the fault, and prints what
it found as a line of JSON. Every second program goes through an object file, so that faults of writing and reading these
show as well. With ``--checker`` random machine functions are allocated and judged instead of programs.
"""

from __future__ import annotations

import argparse
import enum
import importlib.abc
import importlib.machinery
import importlib.util
import json
import sys
import traceback
import types
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.differential.planted import FAULTS, Fault

if TYPE_CHECKING:
    from pyebpf.object import ObjectSpec
    from pyebpf.runtime.load import LoadedObject

ROOT = Path(__file__).parents[2]
NO_FAULT = "none"
"""The name of a run without any fault."""


class Machine(enum.Enum):
    """What notices faults."""

    NONE = "nothing"
    COMPARISON = "comparison of results"
    KERNEL = "kernel's verifier"
    COMPILER = "compiler's own checks"
    SSA = "SSA verifier"
    CHECKER = "allocation checker"
    CLOCK = "time limit"


@dataclass(frozen=True, slots=True)
class Finding:
    """Which machine noticed the fault, after how many programs (or functions), and what it said."""

    machine: Machine
    programs: int
    detail: str = ""


def planted(fault: Fault) -> str:
    """The source of the changed module. Raises ``ValueError`` if the text to replace is not there exactly once."""
    source = (ROOT / fault.file).read_text()
    if source.count(fault.old) != 1:
        raise ValueError(f"{fault.file} has {source.count(fault.old)} times {fault.old!r}")
    return source.replace(fault.old, fault.new)


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads the changed source, never a cached form of the real one."""

    def __init__(self, fault: Fault, name: str, path: str) -> None:
        super().__init__(name, path)
        self._fault = fault

    def get_code(self, fullname: str) -> types.CodeType:
        return compile(planted(self._fault), self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the changed module; leaves all others to the usual finders."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._fault.module:
            return None
        found = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if found is None or found.origin is None:
            return None
        return importlib.util.spec_from_file_location(
            fullname, found.origin, loader=_Loader(self._fault, fullname, found.origin)
        )


def plant(fault: Fault) -> None:
    """Let this process, which must not have imported the compiler, import the changed module."""
    if fault.module in sys.modules:
        raise RuntimeError(f"{fault.module} has been imported already")
    sys.meta_path.insert(0, _Finder(fault))


def _through_object_files() -> None:
    """Let every second object be loaded as it comes back from an object file."""
    from pyebpf.backend.elf import read_object, write_object
    from pyebpf.runtime import load as loading

    directly, loads = loading.load, 0

    def load(spec: ObjectSpec) -> LoadedObject:
        nonlocal loads
        loads += 1
        if loads % 2:
            return directly(spec)
        read = read_object(write_object(spec))
        for name, decl in read.maps.items():  # the file has no types of queues, which user space wants to see
            decl.key, decl.value = spec.maps[name].key, spec.maps[name].value
        return directly(read)

    loading.load = load  # type: ignore[assignment]


def judge_programs(seeds: range) -> Finding:
    """Judge generated programs until something is wrong."""
    _through_object_files()
    from tests.differential.harness import run
    from tests.differential.judge import Verdict, pinned

    with pinned():
        for count, seed in enumerate(seeds, 1):
            _, judgement, _ = run(seed, check=count % 4 == 0)
            text = judgement.text.strip()
            match judgement.verdict:
                case Verdict.AGREED:
                    continue
                case Verdict.MISMATCH:
                    machine = Machine.COMPARISON
                case Verdict.REJECTED:
                    machine = Machine.KERNEL
                case Verdict.SLOW:
                    machine = Machine.CLOCK
                case _:
                    machine = Machine.SSA if "pyebpf/ir/verify.py" in text else Machine.COMPILER
            return Finding(machine, count, text.splitlines()[-1] if text else "")
    return Finding(Machine.NONE, len(seeds))


def judge_functions(seeds: range) -> Finding:
    """Allocate random functions until the checker (or the simulation beside it) finds something wrong."""
    from tests.unit.allocate.fuzz import PRESSURE, function_of, judge

    for count, seed in enumerate(seeds, 1):
        try:
            judge(function_of(seed, *PRESSURE), seed, late_stores=seed % 4 == 0)
        except Exception:
            return Finding(Machine.CHECKER, count, traceback.format_exc().strip().splitlines()[-1])
    return Finding(Machine.NONE, len(seeds))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help=f"of the fault, or `{NO_FAULT}`")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--checker", action="store_true")
    args = parser.parse_args()
    for fault in FAULTS:
        if fault.name == args.name:
            plant(fault)
    seeds = range(args.seed, args.seed + args.limit)
    finding = judge_functions(seeds) if args.checker else judge_programs(seeds)
    print(json.dumps(asdict(finding) | {"machine": finding.machine.name}))


if __name__ == "__main__":
    main()
