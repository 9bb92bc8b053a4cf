"""Hide from the verifier what cells hold, but not the interval that is known of it.

What an atomic operation has changed in memory is any number for the verifier. The interval is kept by a comparison that
only the verifier needs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet

from pyebpf.frontend import build_memory as memory
from pyebpf.frontend import tree
from pyebpf.frontend.build_cells import Cell, Part, Read, Somewhere
from pyebpf.frontend.build_state import Place, State
from pyebpf.frontend.types import Bool, Int, Ref
from pyebpf.ir.ops import Alloca, AtomicOp, Pred, Value


def forget(
    f: State,
    node: tree.Node,
    cells: Collection[Cell],
    known: Mapping[tree.Local, Int],
    measured: AbstractSet[Read],
) -> None:
    """Hide what ``cells`` hold, but not the intervals that are ``known`` of those that are ``measured``; ``node`` owns the
    memory for it."""
    for cell in cells:
        match cell:
            case Part():
                _forget_part(f, node, cell)
            case Somewhere():
                _forget_object(f, node, cell.base)
            case tree.Local(type=Bool()):
                _begin_at_zero(f, cell)
                held = f.widen(f.load_local(cell, cell.type))
                f.store_local(cell, _hidden(f, node, cell.name, held, 8, False))
            case tree.Local():
                assert isinstance(cell.type, Int)
                interval = known.get(cell, cell.type) if cell in measured else None
                _begin_at_zero(f, cell)
                _forget_variable(f, node, cell, cell.type, interval)


def _begin_at_zero(f: State, local: tree.Local) -> None:
    """What is hidden is read, but the number of a variable that is None may never have been written."""
    place = f.local(local)
    if isinstance(place.pointer, Alloca):
        f.b.start_at_zero(place.pointer, place.offset)


def _hidden(f: State, node: tree.Node, name: str, value: Value, width: int, signed: bool) -> Value:
    """The low ``width`` bytes of ``value``, of which the verifier knows nothing more."""
    slot = f.slot(node, f"hidden {name}", 8, name)
    f.b.store(slot.pointer, slot.offset, 8, value)
    # every kernel has the addition, only 5.12 and later the other atomic operations
    f.b.atomic(AtomicOp.ADD, slot.pointer, slot.offset, 8, f.b.const(0))
    at = slot.offset + (0 if f.target.little_endian else 8 - width)
    return f.b.load(slot.pointer, at, width, signed=signed and width < 8)


def _forget_part(f: State, node: tree.Node, part: Part) -> None:
    base = f.load_local(part.base, part.base.type)
    place = Place(base, 0, f.facts.alignments.get(part.base, 1)).at(part.offset)
    width = part.layout.size
    value = memory.load_bits(f, place, width)
    held = _hidden(f, node, f"{part.base.name} {part.offset}", value, width, False)
    memory.store_bits(f, place, width, held)


def _forget_object(f: State, node: tree.Node, base: tree.Local) -> None:
    """What is stored at an unknown place may be anywhere in the object."""
    assert isinstance(base.type, Ref)
    size = base.type.layout.size
    if size <= 1:
        return
    width = 1 if size <= 1 << 8 else 2 if size <= 1 << 16 else 4
    place = f.slot(node, f"place in {base.name}", 8, f"{base.name}.place")
    at = _hidden(f, node, f"{base.name} place", f.b.const(0), width, False)
    f.b.store(place.pointer, place.offset, 8, at)
    if size < 1 << 8 * width:
        wrong, rest = f.exits.cold_block("never"), f.b.new_block("known")
        f.b.branch(f.b.cmp(Pred.UGE, at, f.b.const(size)), wrong, rest, unlikely=True)
        f.go(wrong)
        f.b.store(place.pointer, place.offset, 8, f.b.const(0))
        f.jump_to(rest)
    pointer = f.b.ptradd(f.load_local(base, base.type), f.b.load(place.pointer, place.offset, 8), 1)
    f.b.store(pointer, 0, 1, _hidden(f, node, f"{base.name} byte", f.b.load(pointer, 0, 1), 1, False))


def _forget_variable(f: State, node: tree.Node, local: tree.Local, kind: Int, known: Int | None) -> None:
    width, signed = _width(kind)
    held = _hidden(f, node, local.name, f.load_local(local, kind), width, signed)
    f.store_local(local, held)
    if known is not None:
        bits = 8 * width - signed
        confine(f, local, held, (-(1 << bits) if signed else 0, (1 << bits) - 1), known)


def confine(f: State, local: tree.Local, held: Value, seen: tuple[int, int], known: Int) -> None:
    """Tell the verifier, which sees that ``local`` holds ``held``, a number of the interval ``seen``, that it is in the
    interval ``known``, as far as that may be relied upon."""
    signed = seen[0] < 0
    if known.seen and known.lo > seen[0]:
        _keep(f, local, f.b.cmp(Pred.SLT if signed else Pred.ULT, held, f.b.const(known.lo)), known)
    if known.seen and known.hi < seen[1]:
        _keep(f, local, f.b.cmp(Pred.SGT if signed else Pred.UGT, held, f.b.const(known.hi)), known)


def _keep(f: State, local: tree.Local, outside: Value, known: Int) -> None:
    """For the verifier alone: ``local`` would be a number of its interval if it were ``outside``."""
    wrong, rest = f.exits.cold_block("never"), f.b.new_block("known")
    f.b.branch(outside, wrong, rest, unlikely=True)
    f.go(wrong)
    f.store_local(local, f.b.const(known.lo))
    f.jump_to(rest)


def _width(kind: Int) -> tuple[int, bool]:
    """Bytes, and whether signed, of the smallest type that has room for ``kind``."""
    for width in (1, 2, 4):
        if kind.exact and kind.lo >= 0 and kind.hi < 1 << 8 * width:
            return width, False
        if kind.exact and -(1 << 8 * width - 1) <= kind.lo and kind.hi < 1 << 8 * width - 1:
            return width, True
    return 8, not kind.unsigned
