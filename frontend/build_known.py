"""What a ``for`` or ``while`` loop computes is hidden from the verifier where it would give up.

The verifier keeps every way through an iteration that leaves another known number (or interval) in a variable as a state
of its own, as soon as a test depends on it (``regsafe`` in kernel/bpf/verifier.c). It compares with few of the states
that it has seen and drops those that did not help (``is_state_visited``), so with more than some dozens of them it walks
through all ways. Where that would be too many, the variable goes through memory that an atomic operation has
changed: at the begin of each iteration, as a test in the body may find it to be one number again; or once behind the
loop, where only what follows looks at it. The estimate keeps that away from loops that are verified as they are.

What is hidden stays in the interval that was known of it, by a comparison that only the verifier needs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from pyebpf.frontend import tree
from pyebpf.frontend.bounds import weight
from pyebpf.frontend.build_carried import (
    Assignment,
    Cell,
    Loop,
    Part,
    assignments,
    carried,
    cell_of,
    looked_at,
    trips_of,
    varies,
)
from pyebpf.frontend.build_state import State
from pyebpf.frontend.tree_nodes import nodes
from pyebpf.frontend.types import Bool, Int, Type
from pyebpf.ir.ops import Alloca, AtomicOp, Pred, Value
from pyebpf.records import dataclass

STATES = 400_000
"""So many instructions are walked through before anything is hidden; the verifier's limit is a million."""
REMEMBERED = 8
"""So many states of one place the verifier finds again."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """What is hidden at the begin of each iteration of a loop, and what behind it."""

    inside: tuple[Cell, ...] = ()
    behind: tuple[Cell, ...] = ()


def hidden_in(f: State, node: Loop) -> Hidden:
    """The cells in which numbers would multiply, if there are too many."""
    everywhere = list(assignments(f.source.body))
    for_callers = f.source.kind is not tree.FunctionKind.ENTRY
    body = (node.test, *node.body) if isinstance(node, tree.While) else node.body
    inside = looked_at(body, everywhere, result=for_callers)
    anywhere = looked_at(f.source.body, everywhere, result=for_callers)
    growing = _growing(f.source, node, everywhere, inside, anywhere)
    growing = {cell: ones for cell, ones in growing.items() if _local(cell) in node.known.entering}
    counted = node.driver is tree.LoopDriver.COUNTER
    if counted and _states(node, growing) * f.exits.trips() <= STATES:
        return Hidden()
    behind = (c for c in growing if c not in inside and _local(c) in node.known.leaving)
    return Hidden(tuple(c for c in growing if c in inside), tuple(behind))


def _local(cell: Cell) -> tree.Local:
    return cell.base if isinstance(cell, Part) else cell


def _growing(
    function: tree.Function,
    node: Loop,
    everywhere: list[Assignment],
    inside: Collection[Cell],
    anywhere: Collection[Cell],
) -> dict[Cell, list[Assignment]]:
    """The cells that do not follow from the number of the iteration alone, with their assignments in it. ``inside``: those
    that the loop looks at; ``anywhere``: those that anything does."""
    here = list(assignments(node.body))
    known = _known(function, everywhere)
    # Where the steps of the counter differ, what is counted beside it does not follow from it.
    # Over an iterator nothing follows.
    drifting = node.driver is tree.LoopDriver.ITERATOR or (
        isinstance(node, tree.While) and any(a.chosen and a.cell is node.counter for a in here)
    )
    varying = _varying(here)
    wanted = (carried(function, node) & set(anywhere)) - _kept(function)
    rebound = {a.local for a in nodes(node.body) if isinstance(a, tree.SetLocal | tree.Bind)}
    found: dict[Cell, list[Assignment]] = {}
    for one in here:
        cell = one.cell
        if cell not in wanted or (isinstance(cell, Part) and cell.base in rebound):
            continue
        if drifting or cell in varying or (cell in inside and not _pure(one.value, known)):
            found.setdefault(cell, []).append(one)
    return found


def _varying(here: list[Assignment]) -> set[Cell]:
    """The cells that depend on the way through an iteration."""
    found: set[Cell] = {one.cell for one in here if one.chosen}
    while more := {a.cell for a in here if a.cell not in found and varies(a.value, found)}:
        found |= more
    return found


def _states(node: Loop, growing: dict[Cell, list[Assignment]]) -> int:
    """About how many instructions the verifier walks through in all iterations."""
    trips = trips_of(node)
    straight = weight(node.body) * trips
    numbers = math.prod(_numbers(cell, ones, trips) for cell, ones in growing.items())
    if numbers <= REMEMBERED:
        return straight * numbers
    ways = sum(one.times for ones in growing.values() for one in ones) * trips
    return straight << min(ways, 60)


def _numbers(cell: Cell, ones: list[Assignment], trips: int) -> int:
    """How many numbers ``ones`` may lead to in ``trips`` iterations."""
    if isinstance(cell, tree.Local) and isinstance(cell.type, Bool):
        return 2
    spread, free, constants = 0, 0, 1
    for one in ones:
        if one.step is not None:
            spread += one.step * one.times * trips
        elif isinstance(one.value, tree.IntConst):
            constants += 1
        else:
            free += one.times * trips
    ways = sum(one.times for one in ones) * trips
    return min(constants * (spread + 1) << min(free, 30), 1 << min(ways, 30))


def _known(function: tree.Function, everywhere: list[Assignment]) -> set[Cell]:
    """The cells that may hold a number that the verifier knows."""
    known: set[Cell] = {
        node.local for node in nodes(function.body) if isinstance(node, tree.ForRange | tree.ForConstants)
    }
    while more := {a.cell for a in everywhere if a.cell not in known and _pure(a.value, known)}:
        known |= more
    return known


def _pure(value: tree.Expr, known: set[Cell]) -> bool:
    """Whether ``value`` may be computed from known numbers alone."""
    match value:
        case tree.IntConst():
            return True
        case tree.GetLocal() | tree.Read():
            return cell_of(value) in known
        case tree.Arith(left=left, right=right):
            return _pure(left, known) and _pure(right, known)
        case tree.Wrap(operand=operand) | tree.Reinterpret(operand=operand):
            return _pure(operand, known)
        case tree.Negate(operand=operand) | tree.Invert(operand=operand):
            return _pure(operand, known)
        case tree.Conditional(then=then, otherwise=otherwise):
            return _pure(then, known) or _pure(otherwise, known)
        case _:
            return False


def _kept(function: tree.Function) -> set[Cell]:
    """What the verifier needs to see the end of ``while`` loops."""
    found = (
        node.counter
        for node in nodes(function.body)
        if isinstance(node, tree.While) and node.driver is tree.LoopDriver.COUNTER
    )
    return {counter for counter in found if counter is not None}


# ---------------------------------------------------------------- hiding


def forget(f: State, node: Loop, cells: Collection[Cell], known: Mapping[tree.Local, Type]) -> None:
    """Hide what ``cells`` hold, but not the intervals that are ``known`` of them."""
    for cell in cells:
        if isinstance(cell, Part):
            _forget_part(f, node, cell)
            continue
        place = f.local(cell)
        if isinstance(place.pointer, Alloca):
            f.b.start_at_zero(
                place.pointer, place.offset
            )  # the number of what is None may never have been written
        if isinstance(cell.type, Bool):
            held = f.widen(f.load_local(cell, cell.type))
            f.store_local(cell, _hidden(f, node, cell.name, held, 8, False))
        else:
            _forget_variable(f, node, cell, known.get(cell))


def _hidden(f: State, node: Loop, name: str, value: Value, width: int, signed: bool) -> Value:
    """The low ``width`` bytes of ``value``, of which the verifier knows nothing more."""
    slot = f.slot(node, f"hidden {name}", 8, name)
    f.b.store(slot.pointer, slot.offset, 8, value)
    # every kernel has the addition, only 5.12 and later the other atomic operations
    f.b.atomic(AtomicOp.ADD, slot.pointer, slot.offset, 8, f.b.const(0))
    at = slot.offset + (0 if f.target.little_endian else 8 - width)
    return f.b.load(slot.pointer, at, width, signed=signed and width < 8)


def _forget_part(f: State, node: Loop, part: Part) -> None:
    base = f.load_local(part.base, part.base.type)
    width = part.layout.size
    value = f.b.load(base, part.offset, width)
    held = _hidden(f, node, f"{part.base.name} {part.offset}", value, width, False)
    f.b.store(base, part.offset, width, held)


def _forget_variable(f: State, node: Loop, local: tree.Local, known: Type | None) -> None:
    assert isinstance(local.type, Int)
    width, signed = _width(local.type)
    held = _hidden(f, node, local.name, f.load_local(local, local.type), width, signed)
    f.store_local(local, held)
    if isinstance(known, Int):
        bits = 8 * width - signed
        confine(f, local, held, (-(1 << bits) if signed else 0, (1 << bits) - 1), known)


def confine(f: State, local: tree.Local, held: Value, seen: tuple[int, int], known: Int) -> None:
    """Tell the verifier, which knows that ``local`` holds ``held``, a number of the interval ``seen``, that it is in
    the interval ``known``, as far as that is relied upon."""
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
