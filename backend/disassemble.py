"""BPF instructions as text, and back: the notation of the kernel's verifier log and of llvm-objdump.

``r0 = 4``, ``w1 += w2``, ``r2 = *(u16 *)(r1 + 12)``, ``if r1 > 7 goto +3``, ``call 1``, ``exit``.
One instruction has one text, which ``pyebpf.backend.assemble`` reads back. Jumps are relative, as encoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyebpf.backend import insn as isa
from pyebpf.backend.insn import Alu, AtomicImm, CallKind, Class, Insn, Jmp, Mode, Pseudo, Size, Source
from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


ALU_SIGNS: Final = {
    Alu.ADD: "+=",
    Alu.SUB: "-=",
    Alu.MUL: "*=",
    Alu.DIV: "/=",
    Alu.OR: "|=",
    Alu.AND: "&=",
    Alu.LSH: "<<=",
    Alu.RSH: ">>=",
    Alu.MOD: "%=",
    Alu.XOR: "^=",
    Alu.MOV: "=",
    Alu.ARSH: "s>>=",
}
SIGNED_SIGNS: Final = {Alu.DIV: "s/=", Alu.MOD: "s%="}
JUMP_SIGNS: Final = {
    Jmp.JEQ: "==",
    Jmp.JGT: ">",
    Jmp.JGE: ">=",
    Jmp.JSET: "&",
    Jmp.JNE: "!=",
    Jmp.JSGT: "s>",
    Jmp.JSGE: "s>=",
    Jmp.JLT: "<",
    Jmp.JLE: "<=",
    Jmp.JSLT: "s<",
    Jmp.JSLE: "s<=",
}
ATOMIC_SIGNS: Final = {
    AtomicImm.ADD: "+=",
    AtomicImm.OR: "|=",
    AtomicImm.AND: "&=",
    AtomicImm.XOR: "^=",
}
FETCH_NAMES: Final = {
    AtomicImm.FETCH_ADD: "atomic_fetch_add",
    AtomicImm.FETCH_OR: "atomic_fetch_or",
    AtomicImm.FETCH_AND: "atomic_fetch_and",
    AtomicImm.FETCH_XOR: "atomic_fetch_xor",
    AtomicImm.XCHG: "xchg",
}
# ld_imm64 of something else than a number; both halves are shown where the second has a meaning.
PSEUDO_NAMES: Final = {
    Pseudo.MAP_FD: "map_fd",
    Pseudo.MAP_VALUE: "map_value",
    Pseudo.BTF_ID: "btf_id",
    Pseudo.FUNC: "func",
    Pseudo.MAP_IDX: "map_idx",
    Pseudo.MAP_IDX_VALUE: "map_idx_value",
}
CALL_PREFIXES: Final = {CallKind.HELPER: "", CallKind.SUBPROGRAM: "pc", CallKind.KFUNC: "kfunc "}


def _alu_text(insn: Insn) -> str:
    op, wide = Alu(insn.opcode & 0xF0), insn.cls is Class.ALU64
    letter = "r" if wide else "w"
    dst, src = f"{letter}{insn.dst}", f"{letter}{insn.src}"
    if op is Alu.NEG:
        return f"{dst} = -{dst}"
    if op is Alu.END:
        name = "bswap" if wide else "be" if insn.opcode & Source.X else "le"
        return f"r{insn.dst} = {name}{insn.imm} r{insn.dst}"
    if op is Alu.MOV and insn.offset == 1:
        return f"{dst} = addr_space_cast({src}, {insn.imm >> 16}, {insn.imm & 0xFFFF})"
    if op is Alu.MOV and insn.offset:
        return f"{dst} = (s{insn.offset}){src}"
    sign = (SIGNED_SIGNS if insn.offset else ALU_SIGNS)[op]
    return f"{dst} {sign} {src if insn.opcode & Source.X else insn.imm}"


def _place(insn: Insn, base: int, *, signed: bool = False) -> str:
    bits = Size(insn.opcode & 0x18).bytes * 8
    kind = "s" if signed else "u"
    sign = "-" if insn.offset < 0 else "+"
    return f"({kind}{bits} *)(r{base} {sign} {abs(insn.offset)})"


def _atomic_text(insn: Insn) -> str:
    operation = AtomicImm(insn.imm)
    letter = "r" if insn.opcode & 0x18 == Size.DW else "w"
    if operation is AtomicImm.LOAD_ACQUIRE:
        return f"{letter}{insn.dst} = load_acquire({_place(insn, insn.src)})"
    place, src = _place(insn, insn.dst), f"{letter}{insn.src}"
    match operation:
        case AtomicImm.STORE_RELEASE:
            return f"store_release({place}, {src})"
        case AtomicImm.CMPXCHG:
            return f"{letter}0 = cmpxchg({place}, {letter}0, {src})"
        case AtomicImm.ADD | AtomicImm.OR | AtomicImm.AND | AtomicImm.XOR:
            return f"lock *{place} {ATOMIC_SIGNS[operation]} {src}"
        case _:
            return f"{src} = {FETCH_NAMES[operation]}({place}, {src})"


def _ld_text(insn: Insn) -> str:
    if insn.opcode != isa.LD_IMM64:
        kind = f"u{Size(insn.opcode & 0x18).bytes * 8}"
        index = f"r{insn.src} {insn.imm:+}" if insn.opcode & 0xE0 == Mode.IND else f"{insn.imm}"
        return f"r0 = *({kind} *)skb[{index}]"
    if insn.src == Pseudo.NONE:
        return f"r{insn.dst} = {insn.imm:#x} ll"
    low, high = insn.imm & 0xFFFF_FFFF, insn.imm >> 32
    return f"r{insn.dst} = {PSEUDO_NAMES[Pseudo(insn.src)]}({low}, {high}) ll"


def _jump_text(insn: Insn) -> str:
    match insn.opcode:
        case isa.EXIT:
            return "exit"
        case isa.CALL:
            number = f"{insn.imm:+}" if insn.src == CallKind.SUBPROGRAM else f"{insn.imm}"
            base = f" base {insn.offset}" if insn.offset else ""
            return f"call {CALL_PREFIXES[CallKind(insn.src)]}{number}{base}"
        case isa.GOTO:
            return f"goto {insn.offset:+}"
        case isa.GOTOL:
            return f"gotol {insn.imm:+}"
        case isa.MAY_GOTO:
            return f"may_goto {insn.offset:+}"
    letter = "r" if insn.cls is Class.JMP else "w"
    right = f"{letter}{insn.src}" if insn.opcode & Source.X else f"{insn.imm}"
    return f"if {letter}{insn.dst} {JUMP_SIGNS[Jmp(insn.opcode & 0xF0)]} {right} goto {insn.offset:+}"


def text(insn: Insn) -> str:
    """One instruction as text."""
    match insn.cls:
        case Class.ALU | Class.ALU64:
            return _alu_text(insn)
        case Class.LD:
            return _ld_text(insn)
        case Class.LDX:
            return f"r{insn.dst} = *{_place(insn, insn.src, signed=insn.opcode & 0xE0 == Mode.MEMSX)}"
        case Class.ST:
            return f"*{_place(insn, insn.dst)} = {insn.imm}"
        case Class.STX if insn.opcode & 0xE0 == Mode.ATOMIC:
            return _atomic_text(insn)
        case Class.STX:
            return f"*{_place(insn, insn.dst)} = r{insn.src}"
        case Class.JMP | Class.JMP32:
            return _jump_text(insn)


def disassemble(insns: Iterable[Insn]) -> str:
    """One line for each instruction, ``SLOT: text``, as the kernel numbers them."""
    return "".join(f"{slot:4}: {text(insn)}\n" for slot, insn in with_slots(insns))


def with_slots(insns: Iterable[Insn]) -> Iterator[tuple[int, Insn]]:
    """Each instruction with the slot where it starts."""
    slot = 0
    for insn in insns:
        yield slot, insn
        slot += insn.slots
