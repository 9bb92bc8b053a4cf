"""The back end in one call: an optimised module becomes an object.

For each function: ``select``, ``allocate``, ``peephole``, ``clear_results``, ``frame.layout``, ``emit``, with debug
information from ``debuginfo``. What the kernel limits for a whole program is checked here: the stack of
every chain of calls, and its depth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pyebpf import btf
from pyebpf.backend import debuginfo, insn
from pyebpf.backend.allocate import allocate
from pyebpf.backend.core_types import LocalTypes
from pyebpf.backend.emit import Code, emit
from pyebpf.backend.frame import STACK_BYTES, layout
from pyebpf.backend.machine import FrameSlot, MachineFunction
from pyebpf.backend.machine_text import print_machine
from pyebpf.backend.peephole import peephole
from pyebpf.backend.select import select
from pyebpf.backend.void_results import clear_results
from pyebpf.diagnostics import InternalError, PyebpfError
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir.ops import Function, FunctionRole, Module
from pyebpf.layout import round_up
from pyebpf.object import (
    CoreRelocation,
    FunctionSpec,
    Linkage,
    ObjectSpec,
    ProgramSpec,
    Relocation,
    RelocKind,
)
from pyebpf.records import dataclass, field
from pyebpf.target import Target
from pyebpf.uapi.program_kind import Arguments

if TYPE_CHECKING:
    from typing import Final


Observer = Callable[[str, str], None]
"""Called with the name of a stage (``machine``, ``allocated``, ``asm``) and its text, for all functions."""

MAX_CALL_FRAMES: Final = 8
# check_max_stack_depth() counts every frame of a chain in units of 32 bytes, and an empty one as one of them.
_FRAME_UNIT: Final = 32


@dataclass(frozen=True, slots=True)
class FunctionReport:
    """What a function costs: ``stack`` bytes of its own frame; ``chain`` bytes of the deepest chain of
    calls that starts in it, as the kernel counts; ``slots`` of code; ``frame`` its slots in the frame."""

    name: str
    stack: int
    chain: int
    slots: int
    frame: tuple[FrameSlot, ...]


class StackTooLarge(PyebpfError):
    """A chain of calls needs more stack than the kernel gives. ``chain``: the functions, outermost first,
    with what is in their frames; ``needed``: bytes, as the kernel counts."""

    def __init__(self, chain: tuple[FunctionReport, ...], needed: int, function: Function) -> None:
        self.chain = chain
        self.needed = needed
        self.function = function
        names = " -> ".join(report.name for report in chain)
        slots = ", ".join(f"{slot.label or 'unnamed'} {slot.size}" for r in chain for slot in r.frame)
        super().__init__(f"{names} needs {needed} bytes of stack, of {STACK_BYTES} there are: {slots}")


class CallsTooDeep(PyebpfError):
    """A chain of calls has more frames than the kernel allows. ``chain``: the functions, outermost first."""

    def __init__(self, chain: tuple[str, ...]) -> None:
        self.chain = chain
        super().__init__(f"{' -> '.join(chain)} are {len(chain)} frames, of {MAX_CALL_FRAMES} allowed")


@dataclass(slots=True)
class _Compiled:
    function: Function
    code: Code
    stack: int
    slots: tuple[FrameSlot, ...]


@dataclass(slots=True)
class Compilation:
    """An object and what its functions cost, by the names of the module."""

    object: ObjectSpec
    reports: dict[str, FunctionReport] = field(default_factory=dict)


def compile_module(module: Module, target: Target, *, observer: Observer | None = None) -> ObjectSpec:
    """The object of ``module``, which is optimised already, for ``target``.

    Raises ``StackTooLarge`` or ``CallsTooDeep`` if the kernel would refuse a chain of calls;
    ``InternalError`` for our own mistakes.
    """
    return compile_with_report(module, target, observer=observer).object


def compile_with_report(module: Module, target: Target, *, observer: Observer | None = None) -> Compilation:
    """As ``compile_module``, with a report for each function."""
    watch = _Watch(observer)
    compiled = {name: _compile(f, module, target, watch) for name, f in module.functions.items()}
    reports = _reports(module, compiled)
    watch.tell()
    spec = debuginfo.object_without_code(module, target)
    types = debuginfo.FunctionTypes(module)
    core_types = LocalTypes(module.core_types)
    for result in compiled.values():
        for _, symbol in result.code.core:
            core_types.use(symbol.root, symbol.access, symbol.kind)
    for result in compiled.values():
        made = _spec(result, types, core_types, target)
        if isinstance(made, ProgramSpec):
            spec.programs[made.name] = made
        else:
            spec.functions[made.name] = made
    return Compilation(spec, reports)


class _Watch:
    """Collects the texts of stages, function by function, if anybody wants them."""

    def __init__(self, observer: Observer | None) -> None:
        self.observer = observer
        self.texts: dict[str, list[str]] = {}

    def see(self, stage: str, function: MachineFunction) -> None:
        if self.observer is not None:
            self.texts.setdefault(stage, []).append(print_machine(function))

    def tell(self) -> None:
        if self.observer is not None:
            for stage, texts in self.texts.items():
                self.observer(stage, "\n".join(texts))


def _compile(function: Function, module: Module, target: Target, watch: _Watch) -> _Compiled:
    machine = select(function, module, target)
    watch.see("machine", machine)
    # Verifiers before 6.9 do not apply a check of a register to a copy of it that was spilled before.
    allocate(machine, late_stores=target.kernel < (6, 9))
    peephole(machine)
    clear_results(machine)
    stack = layout(machine)
    watch.see("allocated", machine)
    return _Compiled(function, emit(machine, target), stack, tuple(machine.slots))


# ---------------------------------------------------------------- specs


def _spec(
    compiled: _Compiled, types: debuginfo.FunctionTypes, core_types: LocalTypes, target: Target
) -> FunctionSpec:
    function, code = compiled.function, compiled.code
    name = btf.identifier(function.name)
    raw = insn.encode(code.insns, target.little_endian)
    relocations = tuple(_symbol(r) for r in code.relocations)
    lines = debuginfo.lines(code, function)
    type_ = types.of(function, name)
    core = tuple(
        CoreRelocation(slot, int(symbol.kind), *core_types.local(symbol.root, symbol.access, symbol.kind))
        for slot, symbol in code.core
    )
    if function.role is not FunctionRole.ENTRY:
        linkage = Linkage.GLOBAL if function.role is FunctionRole.GLOBAL else Linkage.STATIC
        return FunctionSpec(name, raw, linkage, relocations, lines, core, type_)
    kind = function.kind
    if kind is None:
        raise InternalError("an entry point without a kind of program", phase="codegen", function=name)
    return ProgramSpec(
        name,
        raw,
        Linkage.GLOBAL,
        relocations,
        lines,
        core,
        type_,
        section=kind.section,
        prog_type=kind.prog_type,
        attach_type=kind.attach_type,
        flags=int(kind.load_flags),
        arguments=function.arguments if kind.arguments is Arguments.USDT else None,
    )


def _symbol(relocation: Relocation) -> Relocation:
    """Functions have other names in the object where Python's are no C identifiers."""
    if relocation.kind not in (RelocKind.CALL, RelocKind.FUNC):
        return relocation
    return Relocation(relocation.slot, relocation.kind, btf.identifier(relocation.symbol))


# ---------------------------------------------------------------- limits of a chain of calls


def _reports(module: Module, compiled: Mapping[str, _Compiled]) -> dict[str, FunctionReport]:
    """A report for each function. Raises ``StackTooLarge`` or ``CallsTooDeep`` for chains from an entry
    point."""
    depths: dict[str, tuple[int, tuple[str, ...]]] = {}
    longest: dict[str, tuple[str, ...]] = {}

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in depths:
            return
        if name in above:
            cycle = " -> ".join((*above[above.index(name) :], name))
            raise InternalError(f"recursion {cycle}", phase="codegen", function=name)
        callees = debuginfo.callees(module.functions[name])
        for callee in callees:
            visit(callee, (*above, name))
        below = max((depths[c] for c in callees), key=lambda d: d[0], default=(0, ()))
        own = round_up(max(compiled[name].stack, 1), _FRAME_UNIT)
        depths[name] = (own + below[0], (name, *below[1]))
        longest[name] = (name, *max((longest[c] for c in callees), key=len, default=()))

    for name in module.functions:
        visit(name, ())
    reports = {
        name: FunctionReport(name, done.stack, depths[name][0], done.code.slots, done.slots)
        for name, done in compiled.items()
    }
    for name, function in module.functions.items():
        needed, chain = depths[name]
        if needed > STACK_BYTES:
            raise StackTooLarge(tuple(reports[n] for n in chain), needed, function)
        if len(longest[name]) > MAX_CALL_FRAMES:
            raise CallsTooDeep(longest[name])
    return reports
