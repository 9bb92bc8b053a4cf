"""Faults to plant: mistakes that a compiler writer makes, one line each, over all parts of the compiler.

Each must be noticed by one of the machines that judge generated programs (``tests.differential.faults``).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Area(enum.Enum):
    """The part of the compiler that a fault is in."""

    TYPING = "typing and building"
    PASSES = "passes"
    SELECTION = "selection"
    ALLOCATION = "allocation"
    ENCODING = "encoding"


@dataclass(frozen=True, slots=True)
class Fault:
    """``old``, which is in ``file`` exactly once, becomes ``new``; ``breaks`` says what is wrong then."""

    name: str
    area: Area
    file: str
    old: str
    new: str
    breaks: str

    @property
    def module(self) -> str:
        """The module that is changed."""
        dotted = self.file.removesuffix(".py").replace("/", ".")
        return dotted if dotted.startswith("pyebpf.") else f"pyebpf.{dotted}"


def _typing(name: str, file: str, old: str, new: str, breaks: str) -> Fault:
    return Fault(name, Area.TYPING, f"frontend/{file}.py", old, new, breaks)


def _passes(name: str, file: str, old: str, new: str, breaks: str) -> Fault:
    return Fault(name, Area.PASSES, f"backend/passes/{file}.py", old, new, breaks)


def _ranges(name: str, file: str, old: str, new: str, breaks: str) -> Fault:
    return Fault(name, Area.PASSES, f"pyebpf/ir/{file}.py", old, new, breaks)


def _selection(name: str, file: str, old: str, new: str, breaks: str) -> Fault:
    return Fault(name, Area.SELECTION, f"backend/{file}.py", old, new, breaks)


def _allocation(name: str, file: str, old: str, new: str, breaks: str) -> Fault:
    return Fault(name, Area.ALLOCATION, f"backend/{file}.py", old, new, breaks)


def _encoding(name: str, file: str, old: str, new: str, breaks: str) -> Fault:
    return Fault(name, Area.ENCODING, f"{file}.py", old, new, breaks)


FAULTS = (
    _typing(
        "narrow_le",
        "narrowing",
        "            hi = min(hi, other.hi)\n",
        "            hi = min(hi, other.hi - 1)\n",
        "`x <= c` narrows as `x < c`",
    ),
    _typing(
        "narrow_other_branch",
        "narrowing",
        "_narrow(no, variable, _OPPOSITE[relation], other.type, constant)",
        "_narrow(no, variable, relation, other.type, constant)",
        "where a comparison does not hold, a variable is narrowed as if it did",
    ),
    _typing(
        "index_at_length",
        "aggregates",
        "inside = known.lo >= 0 and known.hi < length",
        "inside = known.lo >= 0 and known.hi <= length",
        "an index that may be the length is not checked",
    ),
    _typing(
        "loop_head_bound",
        "flow",
        "inside = entry.lo <= back.lo and back.hi <= entry.hi and",
        "inside = back.hi <= entry.hi and",
        "a variable that a loop counts down is taken for not below its start",
    ),
    _typing(
        "shift_without_sign",
        "build_arith",
        "shift = BinOp.LSHR if left.never_negative else BinOp.ASHR",
        "shift = BinOp.LSHR",
        "a negative number is shifted without its sign",
    ),
    _typing(
        "floor_without_rest",
        "build_arith",
        "f.b.binary(BinOp.AND, differ, nonzero)",
        "differ",
        "a signed division without rest is corrected as well",
    ),
    _typing(
        "wrap_without_sign",
        "build_arith",
        "return f.b.sext(bits, operand.value) if signed else f.b.zext(bits, operand.value)",
        "return f.b.zext(bits, operand.value)",
        "`i8(x)` is zero-extended",
    ),
    _typing(
        "index_from_end",
        "build_refs",
        "f.b.binary(BinOp.AND, sign, f.b.const(length))",
        "f.b.binary(BinOp.AND, sign, f.b.const(length - 1))",
        "an index from the end is one too low",
    ),
    _typing(
        "captured_not_read_back",
        "build_calls",
        "        if local in f.frames[callee].assigned:\n",
        "        if local in f.frames[callee].assigned and layout.exception is None:\n",
        "what a function that may raise assigns to a captured variable is lost",
    ),
    _typing(
        "constant_byte_order",
        "build_memory",
        '"little" if f.target.little_endian else "big")\n',
        '"big" if f.target.little_endian else "little")\n',
        "constant bytes are stored in the wrong order",
    ),
    _passes(
        "fact_on_wrong_edge",
        "branch_facts",
        "self.learn(branch.condition, branch.then is block)",
        "self.learn(branch.condition, branch.then is not block)",
        "what a branch tells is taken for true on its other edge",
    ),
    _ranges(
        "range_off_by_one",
        "relations",
        "left = _bounded(a, (a.wide[0], min(a.wide[1], b.wide[1] - room), a.wide[2], a.wide[3]))",
        "left = _bounded(a, (a.wide[0], min(a.wide[1], b.wide[1] - 1), a.wide[2], a.wide[3]))",
        "`x <= c` is remembered as `x < c`",
    ),
    _ranges(
        "range_decided_at_equal",
        "relations",
        "            if greatest + room <= other_least:\n",
        "            if greatest <= other_least:\n",
        "what may be equal is taken for less",
    ),
    _ranges(
        "range_sum_does_not_wrap",
        "bounds",
        "    return (low, high) if low >= 0 and high <= mask else (0, mask)\n",
        "    return min(max(low, 0), mask), min(max(high, 0), mask)\n",
        "sums and products are taken not to wrap around",
    ),
    _ranges(
        "range_of_shift",
        "bits",
        "return a[0] >> count, a[1] >> count",
        "return a[0] >> count, a[1] >> count + 1",
        "a number that is shifted down is taken for half as large",
    ),
    _ranges(
        "range_of_loop",
        "ranges",
        "                found = self.joined(phi, head, used)\n",
        "                found = used\n",
        "a number that changes in a loop is taken for what it was before",
    ),
    _passes(
        "narrow_shift",
        "narrow",
        "[(op.left, mask << c & _ALL), (op.right, _ALL)]",
        "[(op.left, mask), (op.right, _ALL)]",
        "the upper half of a number that is shifted down counts as unneeded",
    ),
    _passes(
        "narrow_division",
        "narrow",
        "return (possible_bits(op.left) | possible_bits(op.right)) <= _LOW",
        "return possible_bits(op.left) <= _LOW",
        "a division by a 64-bit number is done in 32 bits",
    ),
    _passes(
        "slot_escapes",
        "slots",
        "case ops.Store() if user.value is not pointer:",
        "case ops.Store():",
        "a slot whose address is stored is still kept in registers",
    ),
    _passes(
        "merge_order",
        "merge_stores",
        "for store in stores if self.little_endian else reversed(stores):",
        "for store in reversed(stores) if self.little_endian else stores:",
        "merged constants have their parts in the wrong order",
    ),
    _passes(
        "merge_wide_value",
        "merge_stores",
        "fits = values[0].type == I64 and not possible_bits(values[0]) >> stores[0].width * 8",
        "fits = values[0].type == I64",
        "a value wider than its store runs over into the zeros beside it",
    ),
    _passes(
        "dead_store_one_read",
        "dead_stores",
        "live[place.root] = live.get(place.root, 0) | self.mask(place.root, place.offset, size)",
        "live[place.root] = self.mask(place.root, place.offset, size)",
        "a store is removed if something else of the object is read before what was stored",
    ),
    _passes(
        "dead_store_argument",
        "dead_stores",
        "size.value if known and isinstance(size, Const) else 1 << 16",
        "size.value if known and isinstance(size, Const) else 8",
        "stores to all but the first 8 bytes of a key or value are removed",
    ),
    _passes(
        "merged_without_width",
        "gvn",
        "return (type(op), op.bits, self.id(op.operand))",
        "return (type(op), self.id(op.operand))",
        "`u8(x)` and `u16(x)` are taken for the same",
    ),
    _passes(
        "fold_arithmetic_shift",
        "evaluate",
        "result = as_signed(a, bits) >> b",
        "result = a >> b",
        "a constant is shifted without its sign",
    ),
    _passes(
        "thread_wrong_way",
        "jump_threading",
        "ways[pred] = branch.then if taken else branch.otherwise",
        "ways[pred] = branch.otherwise if taken else branch.then",
        "a jump past a decided branch goes to its other side",
    ),
    _selection(
        "width_of_or",
        "select_facts",
        "return max(left, right)",
        "return min(left, right)",
        "`a | b` is taken for as narrow as the narrower operand",
    ),
    _selection(
        "width_of_signed_load",
        "select_facts",
        "case ops.Load(width=width, signed=False):",
        "case ops.Load(width=width):",
        "a sign-extended load is taken for narrow",
    ),
    _selection(
        "truth_exchanged",
        "select_control",
        "for block, truth in ((true, 1), (false, 0)):",
        "for block, truth in ((true, 0), (false, 1)):",
        "a comparison that is used as a number has the opposite value",
    ),
    _selection(
        "narrow_comparison",
        "select_control",
        "low = pred is Pred.TEST or (pred not in _SIGNED and sel.facts.bound[left] <= 32)",
        "low = pred not in _SIGNED",
        "a 64-bit number is compared in 32 bits",
    ),
    _selection(
        "sign_of_remainder",
        "select_arithmetic",
        "sign = left_sign if op is BinOp.SREM else",
        "sign = right_sign if op is BinOp.SREM else",
        "a truncated remainder has the divisor's sign",
    ),
    _selection(
        "atomic_operation",
        "select_memory",
        "AtomicOp.OR: AtomicImm.OR",
        "AtomicOp.OR: AtomicImm.XOR",
        "an atomic `|=` becomes `^=`",
    ),
    _selection(
        "global_offset",
        "select_memory",
        "offset = where.offset + distance",
        "offset = where.offset",
        "of several variables in a section the first is accessed",
    ),
    _allocation(
        "clobber_missing",
        "machine",
        "CALL_CLOBBERED = frozenset(range(6))",
        "CALL_CLOBBERED = frozenset(range(5))",
        "r5 is expected to survive calls",
    ),
    _allocation(
        "liveness_of_arguments",
        "liveness",
        "out |= 1 << arg",
        "out = 1 << arg",
        "of what is live at the end of a block, only what was looked at last is kept",
    ),
    _allocation(
        "move_order",
        "moves",
        "ready = [m for m in self.pending.values() if not readers.get(m.target)]",
        "ready = list(self.pending.values())",
        "parallel moves overwrite what later ones read",
    ),
    _allocation(
        "early_definition",
        "pieces",
        "self._define(value, read if early else after)",
        "self._define(value, after)",
        "a result that is written before all operands are read gets the register of one",
    ),
    _allocation(
        "spill_slot_shared",
        "frame",
        "if a != b and not points[a] & points[b]:",
        "if a != b:",
        "two values that are alive together get one spill slot",
    ),
    _allocation(
        "slots_overlap",
        "frame",
        "-(-(depth + slot.size) // slot.align)",
        "-(-(depth + slot.align) // slot.align)",
        "a slot larger than its alignment lies over the next one",
    ),
    _allocation(
        "peephole_liveness",
        "peephole",
        "out |= live[edge.target]",
        "out = live[edge.target]",
        "after allocation, what only one way out of a block reads is removed",
    ),
    _encoding(
        "jump_over_wide",
        "backend/emit",
        "distance = slots[self.places[line.target]] - slot - 1\n",
        "distance = self.places[line.target] - self.lines.index(line) - 1\n",
        "jumps count `ld_imm64` as one slot",
    ),
    _encoding(
        "inverse_jump",
        "backend/emit",
        "Jmp.JSLT: Jmp.JSGE",
        "Jmp.JSLT: Jmp.JGE",
        "where the other way is next, `s<` becomes `>=` without sign",
    ),
    _encoding(
        "wide_constant_cut",
        "backend/insn",
        "out += pack(0, 0, 0, insn.imm >> 32)",
        "out += pack(0, 0, 0, 0)",
        "the upper half of 64-bit constants is lost",
    ),
    _encoding(
        "immediate_sign",
        "backend/insn",
        "out += pack(insn.opcode, regs, insn.offset, insn.imm & 0xFFFF_FFFF)",
        "out += pack(insn.opcode, regs, insn.offset, insn.imm & 0x7FFF_FFFF)",
        "immediates lose their sign",
    ),
    _encoding(
        "data_addend",
        "backend/elf_write",
        "symbol, imm = self.section_symbols[data.name], data_offset(data, relocation)",
        "symbol, imm = self.section_symbols[data.name], relocation.addend",
        "in object files a private variable is taken for the first of its section",
    ),
    _encoding(
        "call_addend",
        "backend/elf_write",
        "imm = self.text_offsets[relocation.symbol] // SLOT_BYTES - 1",
        "imm = self.text_offsets[relocation.symbol] // SLOT_BYTES",
        "calls in object files go one instruction too far",
    ),
    _encoding(
        "callback_address",
        "backend/elf_write",
        'symbol, imm = self.section_symbols[".text"], self.text_offsets[relocation.symbol]',
        'symbol, imm = self.section_symbols[".text"], 0',
        "in object files every callback is the first function",
    ),
    _encoding(
        "map_flags",
        "backend/elf_maps",
        'number("map_flags", spec.flags)',
        'number("map_flags", 0)',
        "maps of object files lose their flags",
    ),
)
"""The faults, by area."""
