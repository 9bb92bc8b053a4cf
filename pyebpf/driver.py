"""From declared programs to an object: the order of the stages, and hooks to look at each of them.

    ProgramDecl ── infer ──▶ typed tree ── build ──▶ SSA ── pipeline ──▶ SSA ── codegen ──▶ ObjectSpec

Nothing here knows about a kernel but as a ``Target``; what is loaded is the business of ``pyebpf.session``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence

from pyebpf import declare, enums
from pyebpf.collecting import paused
from pyebpf.declare import GlobalDecl, ProgramDecl, declaration_of
from pyebpf.diagnostics import CompileError, Diagnostic
from pyebpf.hints import TYPE_CHECKING, assert_never
from pyebpf.records import dataclass, field
from pyebpf.target import Arch, Isa, Target, TargetFacts

if TYPE_CHECKING:
    from pathlib import Path

    from pyebpf.backend.codegen import FunctionReport
    from pyebpf.frontend import tree
    from pyebpf.ir.ops import Module
    from pyebpf.object import ObjectSpec

    Placement = Callable[[tree.Unit], None]
    """Gives every global of a unit its data section; may add further globals to share a section with."""


class Codegen(enums.Enum):
    """Who makes instructions of the SSA."""

    PYEBPF = "pyebpf"  # our passes, selection, allocation and emission
    LLVM = "llvm"  # LLVM's, from the SSA as it was built; whether the verifier follows them is not promised


_chosen = Codegen.PYEBPF


def choose_codegen(codegen: Codegen) -> None:
    """Set what compilations use from now on that do not name one: for a script that is run with ``--codegen``."""
    global _chosen
    _chosen = codegen


def chosen_codegen() -> Codegen:
    """What compilations use that do not name one."""
    return _chosen


@dataclass(slots=True)
class Compiled:
    """The result of a compilation. ``stages``: the text of each stage that was asked for, in order. ``reports``: what each
    function costs (none if LLVM generated the code)."""

    target: Target
    unit: tree.Unit
    module: Module
    object: ObjectSpec
    reports: dict[str, FunctionReport]
    stages: dict[str, str] = field(default_factory=dict)

    @property
    def ir(self) -> str:
        """The optimised SSA as text."""
        from pyebpf.ir.text import print_module

        return print_module(self.module)

    @property
    def listing(self) -> str:
        """The instructions beside the source lines."""
        from pyebpf.backend.listing import listing

        return listing(self.object)

    def elf(self) -> bytes:
        """The object file."""
        from pyebpf.backend.elf import write_object

        return write_object(self.object)


def running_target() -> Target:
    """The running kernel, where this is Linux; else the oldest kernel that objects are built for by default."""
    if sys.platform != "linux":
        return Target()
    major, _, rest = os.uname().release.partition(".")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    arch = next((a for a in Arch if a.value == os.uname().machine), Arch.X86_64)
    known = major.isdecimal() and minor.isdecimal()
    return Target(kernel=(int(major), int(minor)), arch=arch) if known else Target(arch=arch)


def running_facts(types: Path | None = None) -> TargetFacts:
    """What the running kernel tells of itself; ``types``: a file with the types of the kernel that is meant instead."""
    from pyebpf.runtime.target_facts import RunningFacts

    return RunningFacts(types)


def build_target(kernel: str | None = None, isa: int | None = None, arch: str | None = None) -> Target:
    """The target of ``--kernel 6.1``, ``--isa 3`` and ``--arch x86_64``. Raises ValueError for what is neither."""
    base = Target()
    if kernel is None:
        release = base.kernel
    else:
        import re

        found = re.fullmatch(r"(\d+)\.(\d+)(\.\d+)?", kernel)
        if not found:
            raise ValueError(f"{kernel!r} is not a kernel release such as 6.1")
        release = (int(found[1]), int(found[2]))
    chosen = base.arch if arch is None else Arch(arch)
    return Target(isa=base.isa if isa is None else Isa(isa), kernel=release, arch=chosen)


def module_globals(programs: Iterable[ProgramDecl]) -> list[GlobalDecl]:
    """All variables declared in the modules of ``programs``, in order: they share one section of each kind."""
    found: list[GlobalDecl] = []
    for program in programs:
        for name, value in program.function.__globals__.items():
            decl = declaration_of(value)
            if isinstance(decl, GlobalDecl) and decl not in found:
                decl.name = decl.name or name
                found.append(decl)
    return found


def place_globals(unit: tree.Unit) -> None:
    """The placement for object files: ``.rodata``, ``.bss`` for what starts zero, ``.data`` for the rest."""
    for decl in unit.globals:
        decl.section = default_section(decl)


def default_section(decl: GlobalDecl) -> str:
    """The section where a variable lies unless it has to share one that is loaded already."""
    if decl.constant:
        return ".rodata"
    return ".data" if decl.initial else ".bss"


def license_of(programs: Sequence[ProgramDecl]) -> str | None:
    """The licence that the module of the programs states, if it states one."""
    for program in programs:
        stated = declare.LICENSES.get(program.function.__module__)
        if stated is not None:
            return stated.text
    return None


@dataclass(slots=True)
class _Generation:
    """From a typed unit to an object: the part of a compilation that is done again if the stack was too small."""

    unit: tree.Unit
    target: Target
    codegen: Codegen
    keep: Callable[[str, Callable[[], str]], None]
    check: bool
    checks: bool
    reports: dict[str, FunctionReport] = field(default_factory=dict)

    def run(self) -> tuple[Module, ObjectSpec]:
        """The module and its object, with scratch memory where the stack would not do."""
        from pyebpf.codes import Code

        module = self._build(scratch=False)
        found = self._object(module)
        if isinstance(found, Diagnostic) and found.code is Code.E1001 and self._may_use_scratch():
            module = self._build(scratch=True)
            found = self._object(module)
        if isinstance(found, Diagnostic):
            raise CompileError([found])
        return module, found

    def _may_use_scratch(self) -> bool:
        from pyebpf.frontend.build_frame import reachable

        return any(f.scratch for f in reachable([*self.unit.programs, *self.unit.functions]))

    def _build(self, *, scratch: bool) -> Module:
        from pyebpf.frontend.build import build
        from pyebpf.ir.text import print_module

        module = build(self.unit, self.target, checks=self.checks, scratch=scratch)
        self.keep("ssa", lambda: print_module(module))
        return module

    def _object(self, module: Module) -> ObjectSpec | Diagnostic:
        """The object, or why the kernel would not take it."""
        match self.codegen:
            case Codegen.LLVM:
                return self._by_llvm(module)
            case Codegen.PYEBPF:
                return self._by_us(module)
            case _:
                assert_never(self.codegen)

    def _by_us(self, module: Module) -> ObjectSpec | Diagnostic:
        from pyebpf.backend.codegen import CallsTooDeep, StackTooLarge, compile_with_report
        from pyebpf.backend.pipeline import optimize
        from pyebpf.ir.text import print_module

        optimize(
            module,
            target=self.target,
            observer=lambda name, now: self.keep(name, lambda: print_module(now)),
            check=self.check,
        )
        try:
            done = compile_with_report(
                module, self.target, observer=lambda stage, text: self.keep(stage, lambda: text)
            )
            self.reports = done.reports
            return done.object
        except (StackTooLarge, CallsTooDeep) as error:
            from pyebpf.limits import limit_diagnostic

            return limit_diagnostic(error, module)

    def _by_llvm(self, module: Module) -> ObjectSpec | Diagnostic:
        from pyebpf.backend.llvm import LlvmStackTooLarge, compile_with_llvm

        try:
            return compile_with_llvm(
                module, self.target, observer=lambda stage, text: self.keep(stage, lambda: text)
            )
        except LlvmStackTooLarge as error:
            if not self._may_use_scratch():
                raise
            from pyebpf.codes import Code

            entry = next(iter(module.functions.values()))
            return Diagnostic(Code.E1001, str(error), entry.span)


@paused()
def compile_programs(
    programs: Sequence[ProgramDecl],
    target: Target | None = None,
    *,
    place: Placement = place_globals,
    stages: Iterable[str] = (),
    check: bool = False,
    checks: bool = True,
    codegen: Codegen | None = None,
    facts: TargetFacts | None = None,
) -> Compiled:
    """Compile ``programs`` of one module into one object.

    ``stages``: names from ``stage_names()`` whose text to keep. ``check``: verify the SSA after every pass.
    ``checks=False`` leaves out every run-time check; it is for tests that want to see what the kernel says.
    ``facts``: what is known of the target's kernel beyond its release; None takes the running kernel's.
    ``codegen``: None takes what ``choose_codegen`` set, at first ours.
    Raises ``CompileError`` with every diagnostic; ``LlvmError`` where ``codegen`` is LLVM and LLVM fails.
    """
    from pyebpf.backend.elf_text import describe_object, object_types
    from pyebpf.frontend.infer import analyze

    target = target or running_target()
    wanted = set(stages)
    texts: dict[str, str] = {}

    def keep(stage: str, text: Callable[[], str]) -> None:
        if stage in wanted:
            texts[stage] = text()

    unit = analyze(programs, target, license_of(programs), facts or running_facts())
    if "tree" in wanted:
        from pyebpf.frontend.tree_text import print_unit

        texts["tree"] = print_unit(unit)
    place(unit)
    generation = _Generation(unit, target, codegen or _chosen, keep, check, checks)
    module, spec = generation.run()
    compiled = Compiled(target, unit, module, spec, generation.reports, texts)
    if "asm" in wanted:
        texts["asm"] = compiled.listing
    if "btf" in wanted:
        texts["btf"] = object_types(spec)
    if "elf" in wanted:
        texts["elf"] = describe_object(compiled.elf())
    return compiled


def dump_object(data: bytes, name: str, stage: str) -> str:
    """What an object file holds: ``asm``, ``btf`` or ``elf``. Raises ``ElfError`` for a file that cannot be read."""
    from pyebpf.backend.elf import read_object
    from pyebpf.backend.elf_text import describe_object, describe_types
    from pyebpf.backend.listing import listing

    match stage:
        case "elf":
            return describe_object(data)
        case "btf":
            return describe_types(data)
        case "asm":
            return listing(read_object(data, name))
        case _:
            raise ValueError(f"an object has no stage {stage!r}; it has asm, btf and elf")


def stage_names(codegen: Codegen = Codegen.PYEBPF) -> list[str]:
    """Every stage that can be looked at, in order; the middle ones are the passes of the pipeline."""
    if codegen is Codegen.LLVM:
        return ["tree", "ssa", "llvm", "asm", "btf", "elf"]
    from pyebpf.backend.pipeline import PIPELINE

    passes = list(dict.fromkeys(entry.name for entry in PIPELINE))
    return ["tree", "ssa", *passes, "machine", "asm", "btf", "elf"]
