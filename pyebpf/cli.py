"""The command ``pyebpf``: build, check, run, dump, log, doctor, explain, cache; hooks, list and stubs are in
``kernel_commands``.

Files are imported under their own name, never as ``__main__``, and may not load or attach while that happens.
"""

from __future__ import annotations

import argparse
import importlib.util
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from pyebpf.codes import Code
from pyebpf.declare import ProgramDecl, declaration_of
from pyebpf.diagnostics import CompileError, Diagnostic, PyebpfError, render
from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from pyebpf.driver import Codegen, Compiled
    from pyebpf.target import Target, TargetFacts

CODEGENS = ("pyebpf", "llvm")
"""The values of ``driver.Codegen``, which is not imported before it is needed; the first is the default."""


ARCHES = ("x86_64", "aarch64")
"""The values of ``target.Arch``."""


class UsageError(PyebpfError):
    """The command line asks for something that is not there."""


class NoPrograms(UsageError):
    """A file declares none."""


def import_file(path: Path) -> ModuleType:
    """Import a user's file without running it as a script. Loading and attaching are refused meanwhile."""
    from pyebpf import session

    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent.resolve()))
    with session.importing(path):
        spec.loader.exec_module(module)
    return module


def programs_of(module: ModuleType, names: Sequence[str] = ()) -> list[ProgramDecl]:
    """The programs of a module in order, or those with the given names."""
    found: dict[str, ProgramDecl] = {}
    for value in vars(module).values():
        decl = declaration_of(value)
        if isinstance(decl, ProgramDecl) and decl not in found.values():
            if decl.name in found:
                raise UsageError(
                    f"{module.__file__}: two programs are called {decl.name!r}; give one a name="
                )
            found[decl.name] = decl
    for name in names:
        if name not in found:
            raise UsageError(
                f"{module.__file__} has no program {name!r}; it has {', '.join(found) or 'none'}"
            )
    if not found:
        raise NoPrograms(
            f"{module.__file__} has no programs: no function with a pyebpf decorator at module level"
        )
    return [found[name] for name in names] if names else list(found.values())


def _build(args: argparse.Namespace) -> int:
    from pyebpf.driver import Codegen, build_target, compile_programs, running_facts

    programs = programs_of(import_file(args.file), args.program)
    compiled = compile_programs(
        programs,
        build_target(args.kernel, args.isa, args.arch),
        codegen=Codegen(args.codegen),
        facts=running_facts(args.btf),
    )
    output = args.output or args.file.with_suffix(".o")
    output.write_bytes(compiled.elf())
    print(f"{output}: {', '.join(p.name for p in programs)}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from pyebpf.backend.llvm_process import LlvmRefused
    from pyebpf.driver import Codegen, Compiled, choose_codegen, running_facts, running_target

    running = running_target()
    if args.load and (args.kernel or args.isa or args.arch not in (None, running.arch.value)):
        raise UsageError("--load asks the running kernel; --kernel, --isa and --arch are about another one")
    codegen = Codegen(args.codegen)
    if args.load:
        choose_codegen(codegen)
    target = running if args.load else _target(args)
    facts = running_facts(args.btf)
    failed = 0
    for file in args.files:
        try:
            programs = programs_of(import_file(file))
        except NoPrograms:
            if len(args.files) == 1:
                raise
            if not args.json:
                print(f"{file}: no programs")  # `check *.py` also names the modules that programs import
            continue
        for program in programs:
            try:
                told = _diagnose(program, target, codegen, facts, load=args.load)
            except LlvmRefused as error:
                failed += 1
                print(f"{file}: {program.name}: {error}\n", file=sys.stderr)
                continue
            if not isinstance(told, Compiled):
                failed += len(told)
                _tell(told, as_json=args.json)
            elif not args.json:
                code = told.object.programs[program.name].code
                print(f"{file}: {program.name}: {len(code) // 8} instructions")
                _report(told, program, verbose=args.verbose, cost=args.cost)
    if failed and not args.json:
        print(f"{failed} error{'s' if failed > 1 else ''}", file=sys.stderr)
    return 1 if failed else 0


def _report(compiled: Compiled, program: ProgramDecl, *, verbose: bool, cost: bool) -> None:
    """What ``-v`` and ``--cost`` add."""
    from pyebpf import reports
    from pyebpf.driver import running_target

    if verbose:
        print("\n".join([*reports.stack_report(compiled), *reports.loop_report(compiled)]))
    if not cost:
        return
    log: str | None = None
    why = "another kernel is meant" if compiled.target != running_target() else ""
    if not why:
        from pyebpf.runtime.errors import BpfError, NotInKernel
        from pyebpf.verifier_log import verifier_log

        try:
            log = verifier_log(program).raw
        except (BpfError, NotInKernel) as error:
            why = str(error)
    print("\n".join(reports.cost_report(reports.costs(compiled, program, log))))
    if why:
        print(f"  not measured: {why}")


def _diagnose(
    program: ProgramDecl, target: Target, codegen: Codegen, facts: TargetFacts, *, load: bool
) -> Compiled | Sequence[Diagnostic]:
    """The compiled program, or why it cannot be compiled, or with ``load`` not be loaded."""
    from pyebpf.driver import compile_programs

    try:
        compiled = compile_programs([program], target, check=True, codegen=codegen, facts=facts)
    except CompileError as error:
        return error.diagnostics
    if load:
        from pyebpf.verifier_log import verifier_log

        refused = verifier_log(program, level=1).diagnostic
        if refused is not None:
            return [refused]
    return compiled


def _tell(diagnostics: Sequence[Diagnostic], *, as_json: bool) -> None:
    if as_json:
        from pyebpf.editors import to_json

        print("\n".join(to_json(diagnostic) for diagnostic in diagnostics))
    else:
        print("\n\n".join(render(diagnostic) for diagnostic in diagnostics) + "\n", file=sys.stderr)


def _run(args: argparse.Namespace) -> int:
    if args.codegen != CODEGENS[0]:
        from pyebpf.driver import Codegen, choose_codegen

        choose_codegen(Codegen(args.codegen))
    sys.argv = [str(args.file), *args.arguments]
    sys.path.insert(0, str(args.file.parent.resolve()))
    runpy.run_path(str(args.file), run_name="__main__")
    return 0


def _dump(args: argparse.Namespace) -> int:
    from pyebpf.driver import (
        Codegen,
        compile_programs,
        dump_object,
        running_facts,
        stage_names,
    )

    if args.file.suffix == ".o":
        print(dump_object(args.file.read_bytes(), args.file.name, args.stage))
        return 0
    codegen = Codegen(args.codegen)
    names = stage_names(codegen)
    if args.stage not in names:
        raise UsageError(f"there is no stage {args.stage!r}; the stages are {', '.join(names)}")
    programs = programs_of(import_file(args.file), args.program)
    compiled = compile_programs(
        programs, _target(args), stages=[args.stage], codegen=codegen, facts=running_facts(args.btf)
    )
    print(compiled.stages[args.stage])
    return 0


def _target(args: argparse.Namespace) -> Target:
    """What the options say, else the running kernel."""
    from pyebpf.driver import build_target, running_target

    named = args.kernel or args.isa or args.arch
    return build_target(args.kernel, args.isa, args.arch) if named else running_target()


def _log(args: argparse.Namespace) -> int:
    from pyebpf.verifier_log import verifier_log

    refused = 0
    for program in programs_of(import_file(args.file), args.program):
        told = verifier_log(program, args.level)
        refused += not told.accepted
        print(f"{program.name}: {'accepted' if told.accepted else 'refused'}\n{told.text}")
        if told.diagnostic is not None:
            print(f"\n{render(told.diagnostic)}\n")
    return 1 if refused else 0


def _cache(args: argparse.Namespace) -> int:
    from pyebpf import cache

    found = cache.usage()
    if found.refused is not None:
        print(f"pyebpf: the cache is not used: {found.refused}", file=sys.stderr)
        return 1
    if args.action == "clear":
        print(f"removed {cache.clear()} entries")
        return 0
    if found.folder is None:
        print("the cache is switched off")
    else:
        print(f"{found.folder}: {found.entries} entries, {found.bytes // 1024} KiB")
    return 0


def _hooks(args: argparse.Namespace) -> int:
    from pyebpf.kernel_commands import hooks

    return hooks(args)


def _list(args: argparse.Namespace) -> int:
    from pyebpf.kernel_commands import listing

    return listing(args)


def _stubs(args: argparse.Namespace) -> int:
    from pyebpf.kernel_commands import stubs

    return stubs(args)


def _doctor(args: argparse.Namespace) -> int:
    from pyebpf.doctor import examine

    report = examine()
    print(report.json() if args.json else report.text())
    return 0 if report.loads else 1


def _explain(args: argparse.Namespace) -> int:
    if args.code is None:
        for code in sorted(Code, key=lambda c: c.name):
            print(f"{code.name}  {code.explanation.title}")
        return 0
    found = Code.__members__.get(args.code.upper())
    if found is None:
        raise UsageError(f"there is no code {args.code}; `pyebpf explain` lists them")
    row = found.explanation
    indented = {
        name: "\n".join(f"    {line}" for line in text.split("\n"))
        for name, text in (("wrong", row.wrong), ("right", row.right))
    }
    print(
        f"{found.name}: {row.title}\n\n{row.why}\n\nWrong:\n\n{indented['wrong']}\n\nRight:\n\n{indented['right']}"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pyebpf", description="Compile Python functions to eBPF.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        return made

    def for_codegen(made: argparse.ArgumentParser) -> None:
        made.add_argument(
            "--codegen", choices=CODEGENS, default=CODEGENS[0], help="who generates the code (pyebpf)"
        )

    def for_target(made: argparse.ArgumentParser, default: str) -> None:
        for_codegen(made)
        made.add_argument(
            "--kernel", metavar="X.Y", help=f"the oldest kernel that must accept it ({default})"
        )
        made.add_argument("--isa", type=int, choices=(1, 2, 3, 4), help="level of the instruction set (3)")
        made.add_argument("--arch", choices=ARCHES, help="whose registers tracing programs look at (x86_64)")
        made.add_argument(
            "--btf", type=Path, metavar="FILE", help="the kernel's types, if not those of the running one"
        )

    build = command("build", _build, "Write an object file with the programs of FILE.")
    build.add_argument("file", type=Path, metavar="FILE")
    build.add_argument("-o", "--output", type=Path, metavar="OBJECT", help="where to write it (FILE with .o)")
    build.add_argument(
        "-p", "--program", action="append", default=[], help="only this program (may be repeated)"
    )
    for_target(build, "6.1")

    check = command("check", _check, "Compile every program of FILES and report all errors.")
    check.add_argument("files", type=Path, nargs="+", metavar="FILE")
    for_target(check, "the running one")
    check.add_argument("--json", action="store_true", help="one object per diagnostic and line, for editors")
    check.add_argument(
        "--load", action="store_true", help="let the running kernel judge the programs as well"
    )

    check.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="tell what is on the stack, and what drives each loop and why",
    )
    check.add_argument(
        "--cost",
        action="store_true",
        help="estimate the instructions that the verifier processes for each line, and measure them where it may be asked",
    )

    run = command("run", _run, "Run FILE as a script.")
    for_codegen(run)
    run.add_argument("file", type=Path, metavar="FILE")
    run.add_argument("arguments", nargs=argparse.REMAINDER)

    dump = command(
        "dump", _dump, "Show a stage of the compilation of FILE (.py), or what an object (.o) holds."
    )
    dump.add_argument("file", type=Path, metavar="FILE")
    dump.add_argument(
        "--stage",
        default="asm",
        help="tree, ssa, the name of a pass, machine (or llvm), asm, btf or elf (asm)",
    )
    dump.add_argument(
        "-p", "--program", action="append", default=[], help="only this program (may be repeated)"
    )
    for_target(dump, "the running one")

    log = command(
        "log", _log, "Show the verifier's log of loading the programs of FILE, beside the Python lines."
    )
    log.add_argument("file", type=Path, metavar="FILE")
    log.add_argument("program", nargs="*", metavar="PROGRAM", help="only these programs")
    log.add_argument(
        "--level",
        type=int,
        choices=(1, 2, 4),
        default=2,
        help="1 only what is refused, 2 every instruction, 4 statistics (2)",
    )

    hooks = command(
        "hooks", _hooks, "Tell where in the kernel, or in a file, programs can be attached, and why not."
    )
    hooks.add_argument("pattern", metavar="PATTERN", help="a name, or a pattern such as `vfs_*` or `sched:*`")
    hooks.add_argument(
        "--in",
        dest="file",
        metavar="FILE",
        help="an executable or library, by path or name, instead of the kernel",
    )
    hooks.add_argument("--json", action="store_true", help="for programs")

    listing = command("list", _list, "Show what is loaded on this machine.")
    listing.add_argument("what", choices=("progs", "maps", "links"))
    listing.add_argument("--json", action="store_true", help="for programs")

    stubs = command("stubs", _stubs, "Write type stubs of the kernel's types that FILES import, for editors.")
    stubs.add_argument("files", type=Path, nargs="+", metavar="FILE")
    stubs.add_argument("-o", "--output", type=Path, default=Path("typings"), help="the folder (typings)")
    stubs.add_argument(
        "--btf", type=Path, metavar="TYPES", help="the types, if not those of the running kernel"
    )

    cache = command("cache", _cache, "Show or remove the compiled objects that are kept.")
    cache.add_argument("action", choices=("info", "clear"), nargs="?", default="info")

    doctor = command(
        "doctor", _doctor, "Say what this machine and process allow, and how to mend what is missing."
    )
    doctor.add_argument("--json", action="store_true", help="for programs")

    explain = command("explain", _explain, "Explain a diagnostic code, or list them all.")
    explain.add_argument("code", nargs="?", metavar="CODE")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status: 0, 1 for refused programs, 2 for wrong usage."""
    args = _parser().parse_args(arguments)
    try:
        status: int = args.run(args)
    except UsageError as error:
        print(f"pyebpf: {error}", file=sys.stderr)
        return 2
    except PyebpfError as error:
        print(error if error.tells_all else f"pyebpf: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"pyebpf: {error}", file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
