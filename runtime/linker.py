"""One program with everything that it calls, as the kernel wants it: code in one piece, references filled in.

``link`` appends to an entry program each subprogram that it reaches, once, and collects func_info and
line_info at their final places; ``references.resolve`` then writes the numbers of maps and kernel functions
into the code. The distance to a subprogram is known already when linking.
"""

from __future__ import annotations

import sys

from pyebpf.backend.insn import CALL, LD_IMM64, SLOT_BYTES, CallKind, Pseudo
from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import (
    CoreRelocation,
    FunctionSpec,
    LineInfo,
    ObjectSpec,
    ProgramSpec,
    Reference,
    Relocation,
    RelocKind,
)
from pyebpf.records import dataclass, field
from pyebpf.runtime.errors import ObjectError
from pyebpf.runtime.references import set_imm, set_src

if TYPE_CHECKING:
    from typing import Final


_LITTLE: Final = sys.byteorder == "little"


@dataclass(slots=True)
class Linked:
    """A program ready for loading but for descriptors and kernel ids in ``open``, and what depends on the kernel's types in
    ``core``.

    ``functions`` are the subprograms by first slot; ``lines`` and ``core`` the records by slot, ``core`` with the name of
    the function.
    """

    program: ProgramSpec
    code: bytearray
    functions: list[tuple[int, FunctionSpec]] = field(default_factory=list)
    lines: list[tuple[int, LineInfo]] = field(default_factory=list)
    open: list[Reference] = field(default_factory=list)
    core: list[tuple[int, CoreRelocation, str]] = field(default_factory=list)


def link(spec: ObjectSpec, program: ProgramSpec) -> Linked:
    """``program`` with its subprograms, in the order in which they are first reached.

    Raises ``ObjectError`` for an undefined symbol, a malformed reference or debug information of only some
    functions.
    """
    linked = Linked(program, bytearray())
    starts: dict[str, int] = {}
    waiting: list[FunctionSpec] = [program]
    calls: list[Reference] = []
    while waiting:
        function = waiting.pop(0)
        if function.name in starts:
            continue
        starts[function.name] = len(linked.code) // SLOT_BYTES
        calls += _append(linked, function, starts[function.name])
        for relocation in function.relocations:
            if relocation.kind in (RelocKind.CALL, RelocKind.FUNC):
                waiting.append(_function(spec, relocation.symbol, function))
    for call in calls:
        slot, relocation = call.slot, call.relocation
        as_pointer = relocation.kind is RelocKind.FUNC
        set_src(linked.code, slot, Pseudo.FUNC if as_pointer else CallKind.SUBPROGRAM)
        set_imm(linked.code, slot, starts[relocation.symbol] - slot - 1)
    _check_debug_info(linked)
    return linked


def _function(spec: ObjectSpec, name: str, caller: FunctionSpec) -> FunctionSpec:
    found = spec.functions.get(name) or spec.programs.get(name)
    if found is None:
        raise ObjectError(f"function {caller.name!r} refers to the undefined function {name!r}")
    return found


def _append(linked: Linked, function: FunctionSpec, start: int) -> list[Reference]:
    """Add the code and records of ``function`` at slot ``start``; return its references to functions."""
    if not function.code or len(function.code) % SLOT_BYTES:
        raise ObjectError(f"function {function.name!r} has {len(function.code)} bytes of code")
    references: list[Reference] = []
    related = {relocation.slot for relocation in function.relocations}
    slots = len(function.code) // SLOT_BYTES
    for relocation in function.relocations:
        _check_place(function, relocation, slots)
        reference = Reference(start + relocation.slot, relocation, function.name)
        into = references if relocation.kind in (RelocKind.CALL, RelocKind.FUNC) else linked.open
        into.append(reference)
    slot = 0
    while slot < slots:
        opcode, registers = function.code[slot * SLOT_BYTES], function.code[slot * SLOT_BYTES + 1]
        source = registers >> 4 if _LITTLE else registers & 0x0F
        if opcode == CALL and source == CallKind.SUBPROGRAM and slot not in related:
            raise ObjectError(f"function {function.name!r}: the call at instruction {slot} has no relocation")
        slot += 2 if opcode == LD_IMM64 else 1
    linked.code += function.code
    linked.functions.append((start, function))
    linked.lines += [(start + line.slot, line) for line in function.lines]
    for record in function.core:
        if not 0 <= record.slot < slots or record.slot in related:
            raise ObjectError(
                f"function {function.name!r}: the CO-RE relocation at instruction {record.slot} is at none that can have one"
            )
        linked.core.append((start + record.slot, record, function.name))
    return references


def _check_place(function: FunctionSpec, relocation: Relocation, slots: int) -> None:
    """A relocation stands on an instruction that can carry it."""
    expected = CALL if relocation.kind in (RelocKind.CALL, RelocKind.KFUNC) else LD_IMM64
    needed = 1 if expected == CALL else 2
    if not 0 <= relocation.slot <= slots - needed or function.code[relocation.slot * SLOT_BYTES] != expected:
        raise ObjectError(
            f"function {function.name!r}: the reference to {relocation.symbol or relocation.section!r} is "
            f"at instruction {relocation.slot}, which cannot hold it"
        )


def _check_debug_info(linked: Linked) -> None:
    """The kernel wants func_info, and line_info, of all functions or of none."""
    program = linked.program
    for _, function in linked.functions:
        if program.type is not None and function.type is None:
            raise ObjectError(f"function {function.name!r} has no type, but program {program.name!r} has one")
        if program.lines and not function.lines:
            raise ObjectError(
                f"function {function.name!r} has no line information, but program {program.name!r} has"
            )
