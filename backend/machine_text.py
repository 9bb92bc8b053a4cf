"""Machine IR as text, before and after register allocation: for dumps and golden tests.

    function count(v0)
    entry(v0):
        v1 = ldxw [v0 + 16]
        v2@r1 …

One line per instruction: definitions, ``=``, mnemonic, uses, constants. A constraint follows its register:
``v3@r1`` (fixed), ``v4=v3`` (tied to the use), ``v5!`` (written early). Edges come last: ``-> block(arguments)``.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyebpf.backend import insn as encoding
from pyebpf.backend.insn import Alu, CallKind, Class, Jmp, Mode, Size, Source
from pyebpf.backend.machine import (
    CoreSymbol,
    Edge,
    FrameSlot,
    MachineBlock,
    MachineFunction,
    MachineInsn,
    Operand,
    Role,
)


def print_machine(function: MachineFunction) -> str:
    """``function`` as text. Frame slots are numbered in the function's order, with their offset once they have one."""
    slots = {id(slot): f"s{i}" for i, slot in enumerate(function.slots)}
    lines = [f"function {function.name}({', '.join(map(str, function.params))})"]
    for slot in function.slots:
        offset = "" if slot.offset is None else f" at r10{slot.offset:+d}"
        label = f' "{slot.label}"' if slot.label else ""
        lines.append(f"  slot {slots[id(slot)]}: {slot.size} align {slot.align}{label}{offset}")
    for block in function.blocks:
        lines.extend(_block(block, slots))
    return "\n".join(lines) + "\n"


def _block(block: MachineBlock, slots: dict[int, str]) -> Iterator[str]:
    params = f"({', '.join(map(str, block.params))})" if block.params else ""
    yield f"{block.name}{params}:{' ; unlikely' if block.unlikely else ''}"
    for insn in block.insns:
        yield f"    {print_insn(insn, slots)}"
    if block.edges:
        yield f"    -> {', '.join(_edge(e) for e in block.edges)}"


def _edge(edge: Edge) -> str:
    return edge.target.name + (f"({', '.join(map(str, edge.args))})" if edge.args else "")


def print_insn(insn: MachineInsn, slots: dict[int, str] | None = None) -> str:
    """One instruction as text; ``slots`` gives frame slots their names by identity."""
    operands = insn.operands
    defs = ", ".join(_operand(o, operands) for o in operands if o.role is Role.DEF)
    parts = [_operand(o, operands) for o in operands if o.role is Role.USE]
    frame = ""
    if insn.frame is not None:
        frame = _slot(insn.frame, slots)
    if isinstance(insn.symbol, CoreSymbol):
        parts.append(f"core:{insn.symbol.kind.name.lower()}:{insn.symbol.root}:{insn.symbol.access}")
    elif insn.symbol is not None:
        addend = f"{insn.symbol.addend:+d}" if insn.symbol.addend else ""
        parts.append(
            f"{insn.symbol.kind.value}:{insn.symbol.section}{':' if insn.symbol.section else ''}"
            f"{insn.symbol.name}{addend}"
        )
    memory = insn.opcode & 0x07 in (Class.LDX, Class.ST, Class.STX)
    if memory:
        base = [f"[{frame}{insn.offset:+d}]" if frame else f"[{insn.offset:+d}]"]
        parts = base + parts
    elif frame:
        parts.append(f"&{frame}{insn.imm:+d}")
    elif insn.offset:
        parts.append(f"off {insn.offset}")
    if _has_imm(insn) and not (frame and not memory):
        parts.append(f"{insn.imm:#x}" if insn.opcode == encoding.LD_IMM64 else str(insn.imm))
    flags = [word for word, on in (("move", insn.move), ("remat", insn.remat)) if on]
    if insn.clobbers:
        flags.append("clobbers " + " ".join(f"r{r}" for r in sorted(insn.clobbers)))
    if insn.comment:
        flags.append(insn.comment)
    text = f"{defs + ' = ' if defs else ''}{mnemonic(insn)} {', '.join(parts)}".rstrip()
    return text + (f"  ; {', '.join(flags)}" if flags else "")


def _slot(slot: FrameSlot, slots: dict[int, str] | None) -> str:
    return (slots or {}).get(id(slot), slot.label or "slot")


def _operand(operand: Operand, operands: tuple[Operand, ...]) -> str:
    text = str(operand.reg)
    if operand.fixed is not None and text != f"r{operand.fixed}":
        text += f"@r{operand.fixed}"
    if operand.reuse is not None and str(operand.reg) != str(operands[operand.reuse].reg):
        text += f"={operands[operand.reuse].reg}"
    return text + ("!" if operand.early else "")


def _has_imm(insn: MachineInsn) -> bool:
    """Whether the immediate field means something."""
    cls = insn.opcode & 0x07
    if insn.opcode in (encoding.LD_IMM64, encoding.CALL) or cls == Class.ST:
        return True
    if cls in (Class.LDX, Class.STX, Class.LD):
        return insn.imm != 0 or cls == Class.LD or insn.opcode & 0xE0 == Mode.ATOMIC
    if insn.opcode == encoding.EXIT:
        return False
    return (insn.opcode & 0x08 == Source.K and insn.opcode & 0xF0 != Alu.NEG) or (
        cls in (Class.ALU, Class.ALU64) and (insn.opcode & 0xF0 == Alu.END)
    )


def mnemonic(insn: MachineInsn) -> str:
    """A short name of the operation, without operands: ``add64``, ``jlt``, ``ldxw``, ``call``."""
    opcode = insn.opcode
    cls = Class(opcode & 0x07)
    if opcode == encoding.LD_IMM64:
        return "ld_imm64"
    match cls:
        case Class.ALU | Class.ALU64:
            op = Alu(opcode & 0xF0).name.lower()
            if opcode & 0xF0 == Alu.END and cls is Class.ALU:
                return "be" if opcode & 0x08 else "le"
            signed = "s" if insn.offset and op in ("div", "mod", "mov") else ""
            return signed + op + ("64" if cls is Class.ALU64 else "32")
        case Class.JMP | Class.JMP32:
            if opcode == encoding.CALL:
                kind = CallKind(insn.src_field)
                return "call" if kind is CallKind.HELPER else f"call.{kind.name.lower()}"
            op = Jmp(opcode & 0xF0).name.lower()
            return op + ("32" if cls is Class.JMP32 and opcode != encoding.GOTOL else "")
        case Class.LD | Class.LDX | Class.ST | Class.STX:
            mode = opcode & 0xE0
            suffix = {Mode.MEMSX: "sx", Mode.ATOMIC: ".atomic", Mode.ABS: ".abs", Mode.IND: ".ind"}.get(
                Mode(mode), ""
            )
            return cls.name.lower() + Size(opcode & 0x18).name.lower() + suffix
