"""Assembly beside the Python lines that it was made from, as ``pyebpf dump --stage asm`` shows it."""

from __future__ import annotations

from collections.abc import Iterator

from pyebpf.backend import insn as isa
from pyebpf.backend.disassemble import text, with_slots
from pyebpf.object import FunctionSpec, LineInfo, ObjectSpec, ProgramSpec, Relocation, RelocKind
from pyebpf.records import dataclass


def listing(spec: ObjectSpec) -> str:
    """Every program and function of ``spec``: slots, instructions, what relocations put in, and source lines.

    A source line stands above the instructions made from it, as ``; FILE:LINE  TEXT``.
    """
    functions: list[FunctionSpec] = [*spec.programs.values(), *spec.functions.values()]
    return "\n".join("\n".join(_function(f, spec.little_endian)) + "\n" for f in functions)


@dataclass(frozen=True, slots=True)
class Listed:
    """One instruction in words. ``line``: the Python line that it comes from; ``target``: whether a jump leads here."""

    slot: int
    words: str
    line: LineInfo | None
    target: bool


def instructions(function: FunctionSpec, little_endian: bool = True) -> Iterator[Listed]:
    """Every instruction of a function in words."""
    insns = isa.decode(function.code, little_endian)
    lines = {line.slot: line for line in function.lines}
    relocations = {r.slot: r for r in function.relocations}
    targets = {slot + insn.slots + insn.jump_distance for slot, insn in with_slots(insns) if insn.is_jump}
    line: LineInfo | None = None
    for slot, insn in with_slots(insns):
        line = lines.get(slot, line)
        words = _with_symbol(text(insn), relocations.get(slot))
        if insn.is_jump:
            words = f"{words}  ; to {slot + insn.slots + insn.jump_distance}"
        yield Listed(slot, words, line, slot in targets)


def _function(function: FunctionSpec, little_endian: bool) -> Iterator[str]:
    slots = len(function.code) // 8
    place = f" in section {function.section}" if isinstance(function, ProgramSpec) else ""
    yield f"{function.name}:{place}  ; {slots} slots"
    shown: tuple[str, int] | None = None
    for insn in instructions(function, little_endian):
        line = insn.line
        if line is not None and (line.file, line.line) != shown:
            shown = (line.file, line.line)
            yield f"; {line.file}:{line.line}  {line.text}".rstrip()
        yield f"{'>' if insn.target else ' '}{insn.slot:5}: {insn.words}"


def _with_symbol(words: str, relocation: Relocation | None) -> str:
    """The instruction with the name in place of the number that the relocation will put there."""
    if relocation is None:
        return words
    if relocation.kind in (RelocKind.CALL, RelocKind.KFUNC):
        return f"call {relocation.symbol}"
    target = relocation.symbol or relocation.section
    addend = f" + {relocation.addend}" if relocation.addend else ""
    what = {RelocKind.MAP: "map ", RelocKind.FUNC: "function "}.get(relocation.kind, "")
    return f"{words.split(' = ')[0]} = {what}{target}{addend} ll"
