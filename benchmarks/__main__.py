"""Compare the code that pyebpf makes with clang's, as ratios measured in one run: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import importlib.util
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.build import ISA, BuildError, Clang, find_clang, spec_of, with_clang, with_pyebpf
from benchmarks.cases import CASES, Case
from benchmarks.effects import differences, effects_of
from benchmarks.measure import Effort, Size, Time, quiet, size_of, times_of
from benchmarks.table import Line, render
from pyebpf.backend.llvm import LlvmError
from pyebpf.diagnostics import PyebpfError
from pyebpf.driver import Codegen
from pyebpf.object import ObjectSpec
from pyebpf.runtime.errors import BpfError, VerifierError

OURS, CLANG, LLVM = "pyebpf", "clang", "llvmlite"


@dataclass(slots=True)
class Comparison:
    """A case with the objects of all compilers that could compile it, and what was found out about them."""

    case: Case
    specs: dict[str, ObjectSpec]
    sizes: dict[str, Size]
    times: dict[tuple[str, str], Time]


def build(case: Case, clang: Clang, notes: list[str], *, llvm: bool) -> dict[str, ObjectSpec]:
    """The objects of a case by compiler. What LLVM cannot compile is left out and noted."""
    specs = {OURS: spec_of(with_pyebpf(case), case), CLANG: spec_of(with_clang(case, clang), case)}
    if llvm:
        try:
            specs[LLVM] = spec_of(with_pyebpf(case, Codegen.LLVM), case)
        except LlvmError as error:
            notes.append(f"{case.name}: {LLVM} does not compile it: {error}")
    return specs


def compare(case: Case, specs: dict[str, ObjectSpec], effort: Effort | None, notes: list[str]) -> Comparison:
    """Check that all objects do the same, and measure them. Raises ``BuildError`` where ours differs from clang's."""
    try:
        if LLVM in specs:
            size_of(specs[LLVM])
    except VerifierError:
        notes.append(f"{case.name}: the verifier refuses what {LLVM} makes of it")
        del specs[LLVM]
    done = {name: effects_of(case, spec) for name, spec in specs.items()}
    for name in specs:
        found = list(differences(done[CLANG], done[name]))
        if found:
            raise BuildError(
                f"{case.name}: {CLANG}'s program and {name}'s do not do the same: {'; '.join(found)}"
            )
    times = times_of(case, specs, effort) if effort else {}
    return Comparison(case, specs, {name: size_of(spec) for name, spec in specs.items()}, times)


def report(compared: Sequence[Comparison], names: Sequence[str]) -> Iterable[str]:
    """The tables, one after the other."""
    static = ("instructions", "verified", "stack", "jited")
    titles = ("instructions (slots)", "verified instructions", "stack (bytes)", "machine code (bytes)")
    for attribute, title in zip(static, titles, strict=True):
        lines = []
        for one in compared:
            figures = {name: float(getattr(size, attribute)) for name, size in one.sizes.items()}
            lines.append(_line(one.case.name, figures, names))
        yield render(title, names, lines)
    for attribute, title in (("best", "ns per run, best"), ("median", "ns per run, median")):
        lines = []
        for one in compared:
            for packet in one.case.timed if one.times else ():
                taken = {name: one.times.get((name, packet)) for name in names}
                figures = {name: float(getattr(time, attribute)) for name, time in taken.items() if time}
                lines.append(_line(f"{one.case.name}, {packet}", figures, names))
        if lines:
            yield render(title, names, lines, digits=1)


def _line(label: str, figures: Mapping[str, float], names: Sequence[str]) -> Line:
    return Line(label, figures[names[0]], tuple(figures.get(name) for name in names[1:]))


def run(args: argparse.Namespace) -> None:
    """Build, compare, print."""
    clang = find_clang(args.clang)
    cases = [case for case in CASES if not args.programs or case.name in args.programs]
    effort = None if args.no_times else Effort(args.loads, args.rounds, args.repeat)
    notes: list[str] = []
    llvm = not args.no_llvm and importlib.util.find_spec("llvmlite") is not None
    if not llvm and not args.no_llvm:
        notes.append(f"{LLVM} is not installed: the column for LLVM's code generator is left out")
    built = [build(case, clang, notes, llvm=llvm) for case in cases]
    with quiet():
        compared = [compare(case, specs, effort, notes) for case, specs in zip(cases, built, strict=True)]
    names = [OURS, CLANG, LLVM] if llvm else [OURS, CLANG]
    print(f"Linux {platform.release()} {platform.machine()}; pyebpf and {clang} -O2, both with -mcpu=v{ISA}")
    if llvm:
        print(f"{LLVM}: LLVM's optimiser and back end on the SSA that pyebpf built")
    packets = sum(len(case.packets) for case in cases)
    print(f"{len(cases)} programs: the same verdicts, packets, maps and variables after {packets} packets")
    print("ratio: pyebpf's figure divided by the rival's; below 1 pyebpf is better")
    for table in report(compared, names):
        print(f"\n{table}")
    if effort:
        print(
            f"\ntimes: {effort.loads} loads of each, {effort.rounds} calls each, {effort.repeat:,} runs a call"
        )
    for note in notes:
        print(note)


def _parser() -> argparse.ArgumentParser:
    usual = Effort()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help="only these (all)")
    parser.add_argument("--clang", metavar="NAME", help="which clang (the newest that is found)")
    parser.add_argument("--no-llvm", action="store_true", help="without the column for LLVM's code generator")
    parser.add_argument("--no-times", action="store_true", help="sizes only")
    parser.add_argument(
        "--loads", type=int, default=usual.loads, help="fresh loads of each program (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=usual.rounds, help="calls for each load (%(default)s)")
    parser.add_argument("--repeat", type=int, default=usual.repeat, help="runs in each call (%(default)s)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    try:
        run(_parser().parse_args(arguments))
    except (BpfError, PyebpfError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
