"""The assembler: the text of ``pyebpf.backend.disassemble`` back to instructions.

For tests, feature probes and anybody who writes a few instructions by hand. Strict about spelling, free about
blank lines, ``SLOT:`` in front (ignored) and comments (``;`` to the end of the line).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pyebpf.backend import insn as isa
from pyebpf.backend.disassemble import (
    ALU_SIGNS,
    ATOMIC_SIGNS,
    FETCH_NAMES,
    JUMP_SIGNS,
    PSEUDO_NAMES,
    SIGNED_SIGNS,
)
from pyebpf.backend.insn import Alu, AtomicImm, CallKind, Class, Insn, InsnError, Mode, Pseudo, Size, Source
from pyebpf.diagnostics import PyebpfError
from pyebpf.hints import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from typing import Final


class AssemblyError(PyebpfError):
    """Text that is not an instruction. ``line`` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        self.line = line
        super().__init__(f"line {line}: {message}")


_Operation = TypeVar("_Operation")
_Match = re.Match[str]


def _inverse(table: Mapping[_Operation, str]) -> dict[str, _Operation]:
    return {sign: operation for operation, sign in table.items()}


_ALU: Final = _inverse(ALU_SIGNS)
_SIGNED: Final = _inverse(SIGNED_SIGNS)
_JUMPS: Final = _inverse(JUMP_SIGNS)
_ATOMICS: Final = _inverse(ATOMIC_SIGNS)
_FETCHES: Final = _inverse(FETCH_NAMES)
_PSEUDOS: Final = _inverse(PSEUDO_NAMES)
_END: Final = {"be": isa.END_TO_BE, "le": isa.END_TO_LE, "bswap": isa.BSWAP}


def _operand(match: _Match) -> tuple[Source, int, int]:
    """(source, src, imm) of the second operand, whose letter must be the first's."""
    if match["number"] is not None:
        return Source.K, 0, int(match["number"], 0)
    if match["letter"] != match["other"]:
        raise ValueError("both operands must be of one width")
    return Source.X, int(match["src"]), 0


def _alu(match: _Match) -> Insn:
    source, src, imm = _operand(match)
    signed = match["op"] in _SIGNED
    operation = (_SIGNED if signed else _ALU)[match["op"]]
    opcode = isa.alu(operation, source, wide=match["letter"] == "r")
    return Insn(opcode, int(match["dst"]), src, int(signed), imm)


def _neg(match: _Match) -> Insn:
    if match["dst"] != match["src"] or match["letter"] != match["other"]:
        raise ValueError("a register can only be negated in place")
    return Insn(isa.alu(Alu.NEG, Source.K, wide=match["letter"] == "r"), int(match["dst"]))


def _end(match: _Match) -> Insn:
    if match["dst"] != match["src"]:
        raise ValueError("bytes can only be swapped in place")
    return Insn(_END[match["op"]], int(match["dst"]), imm=int(match["bits"]))


def _movsx(match: _Match) -> Insn:
    if match["letter"] != match["other"]:
        raise ValueError("both operands must be of one width")
    opcode = isa.alu(Alu.MOV, Source.X, wide=match["letter"] == "r")
    return Insn(opcode, int(match["dst"]), int(match["src"]), int(match["bits"]))


def _cast(match: _Match) -> Insn:
    imm = int(match["to"]) << 16 | int(match["from"])
    return Insn(isa.alu(Alu.MOV, Source.X), int(match["dst"]), int(match["src"]), 1, imm)


def _place(match: _Match) -> tuple[int, int, int]:
    """(width in bytes, base register, offset) of a memory operand."""
    return int(match["bits"]) // 8, int(match["base"]), int(match["sign"] + match["offset"])


def _load(match: _Match) -> Insn:
    width, base, offset = _place(match)
    return Insn(isa.ldx(width, signed=match["kind"] == "s"), int(match["dst"]), base, offset)


def _store(match: _Match) -> Insn:
    width, base, offset = _place(match)
    if match["number"] is not None:
        return Insn(isa.st(width), base, 0, offset, int(match["number"], 0))
    return Insn(isa.stx(width), base, int(match["src"]), offset)


def _atomic(operation: AtomicImm, base_is_dst: bool) -> Callable[[_Match], Insn]:
    def build(match: _Match) -> Insn:
        width, base, offset = _place(match)
        if match["letter"] != ("r" if width == 8 else "w"):
            raise ValueError("the register must be as wide as the memory")
        dst, src = (base, int(match["reg"])) if base_is_dst else (int(match["reg"]), base)
        return Insn(isa.atomic(width), dst, src, offset, operation)

    return build


def _lock(match: _Match) -> Insn:
    return _atomic(_ATOMICS[match["op"]], True)(match)


def _fetch(match: _Match) -> Insn:
    if match["reg"] != match["again"] or match["letter"] != match["other"]:
        raise ValueError("the old value can only go where the operand is")
    return _atomic(_FETCHES[match["op"]], True)(match)


def _packet(match: _Match) -> Insn:
    size = Size.of(int(match["bits"]) // 8)
    if match["index"] is not None:
        return Insn(Class.LD | Mode.IND | size, 0, int(match["index"]), 0, int(match["more"]))
    return Insn(Class.LD | Mode.ABS | size, imm=int(match["number"], 0))


def _constant(match: _Match) -> Insn:
    return Insn(isa.LD_IMM64, int(match["dst"]), Pseudo.NONE, 0, int(match["number"], 0) & (1 << 64) - 1)


def _pseudo(match: _Match) -> Insn:
    imm = int(match["high"]) << 32 | int(match["low"])
    return Insn(isa.LD_IMM64, int(match["dst"]), _PSEUDOS[match["op"]], 0, imm)


def _jump(match: _Match) -> Insn:
    source, src, imm = _operand(match)
    opcode = isa.jump(_JUMPS[match["op"]], source, wide=match["letter"] == "r")
    return Insn(opcode, int(match["dst"]), src, int(match["offset"]), imm)


def _call(match: _Match) -> Insn:
    kind = {"": CallKind.HELPER, "pc": CallKind.SUBPROGRAM, "kfunc ": CallKind.KFUNC}[match["kind"]]
    return Insn(isa.CALL, 0, kind, int(match["base"] or 0), int(match["number"]))


def _goto(match: _Match) -> Insn:
    distance = int(match["offset"])
    match match["op"]:
        case "gotol":
            return Insn(isa.GOTOL, imm=distance)
        case "goto":
            return Insn(isa.GOTO, offset=distance)
        case _:
            return Insn(isa.MAY_GOTO, offset=distance)


def _signs(table: Mapping[str, object]) -> str:
    return f"(?P<op>{'|'.join(re.escape(sign) for sign in sorted(table, key=len, reverse=True))})"


_NUMBER: Final = r"(?P<number>[+-]?(?:0x[0-9a-fA-F]+|\d+))"
_DST: Final = r"(?P<letter>[rw])(?P<dst>\d+)"
_SRC: Final = r"(?P<other>[rw])(?P<src>\d+)"
_MEM: Final = r"\((?P<kind>[us])(?P<bits>8|16|32|64) \*\)\(r(?P<base>\d+) (?P<sign>[+-]) (?P<offset>\d+)\)"
_REG: Final = r"(?P<letter>[rw])(?P<reg>\d+)"
_TO: Final = r"goto (?P<offset>[+-]\d+)"
# The first rule that matches the whole line makes the instruction.
_RULES: Final[tuple[tuple[re.Pattern[str], Callable[[_Match], Insn]], ...]] = tuple(
    (re.compile(pattern), build)
    for pattern, build in (
        (rf"{_DST} {_signs(_ALU | _SIGNED)} (?:{_SRC}|{_NUMBER})", _alu),
        (rf"{_DST} = -{_SRC}", _neg),
        (rf"r(?P<dst>\d+) = {_signs(_END)}(?P<bits>16|32|64) r(?P<src>\d+)", _end),
        (rf"{_DST} = \(s(?P<bits>8|16|32)\){_SRC}", _movsx),
        (r"r(?P<dst>\d+) = addr_space_cast\(r(?P<src>\d+), (?P<to>\d+), (?P<from>\d+)\)", _cast),
        (rf"r(?P<dst>\d+) = \*{_MEM}", _load),
        (rf"\*{_MEM} = (?:r(?P<src>\d+)|{_NUMBER})", _store),
        (rf"lock \*{_MEM} {_signs(_ATOMICS)} {_REG}", _lock),
        (rf"{_REG} = {_signs(_FETCHES)}\({_MEM}, (?P<other>[rw])(?P<again>\d+)\)", _fetch),
        (rf"[rw]0 = cmpxchg\({_MEM}, [rw]0, {_REG}\)", _atomic(AtomicImm.CMPXCHG, True)),
        (rf"store_release\({_MEM}, {_REG}\)", _atomic(AtomicImm.STORE_RELEASE, True)),
        (rf"{_REG} = load_acquire\({_MEM}\)", _atomic(AtomicImm.LOAD_ACQUIRE, False)),
        (rf"r0 = \*\(u(?P<bits>8|16|32) \*\)skb\[(?:r(?P<index>\d+) (?P<more>[+-]\d+)|{_NUMBER})\]", _packet),
        (rf"r(?P<dst>\d+) = {_NUMBER} ll", _constant),
        (rf"r(?P<dst>\d+) = {_signs(_PSEUDOS)}\((?P<low>\d+), (?P<high>\d+)\) ll", _pseudo),
        (rf"if {_DST} {_signs(_JUMPS)} (?:{_SRC}|{_NUMBER}) {_TO}", _jump),
        (r"call (?P<kind>pc|kfunc |)(?P<number>[+-]?\d+)(?: base (?P<base>-?\d+))?", _call),
        (r"(?P<op>gotol|goto|may_goto) (?P<offset>[+-]\d+)", _goto),
        (r"exit", lambda match: Insn(isa.EXIT)),
    )
)
_SLOT: Final = re.compile(r"\s*\d+:")


def _line(words: str, slot: int, line: int) -> Insn:
    for pattern, build in _RULES:
        match = pattern.fullmatch(words)
        if match is None:
            continue
        try:
            return isa.check(build(match), slot)
        except (ValueError, InsnError) as error:
            raise AssemblyError(f"`{words}`: {error}", line) from error
    raise AssemblyError(f"`{words}` is not an instruction", line)


def assemble(text: str) -> list[Insn]:
    """The instructions that ``text`` spells, one on each line.

    Raises ``AssemblyError`` with the line of the first that is none.
    """
    insns: list[Insn] = []
    slot = 0
    for number, line in enumerate(text.splitlines(), 1):
        code = _SLOT.sub("", line.split(";")[0], count=1)
        words = " ".join(code.split())
        if words:
            insns.append(_line(words, slot, number))
            slot += insns[-1].slots
    return insns
