"""What a ``for`` or ``while`` loop computes from known numbers is hidden from the verifier where it would give up.

The verifier keeps every way through an iteration that leaves another known number in a variable as a state of its
own, as soon as a test depends on it (``regsafe`` in kernel/bpf/verifier.c). Where the numbers would be too many, the
variable goes through memory that an atomic operation has changed, at the begin of each iteration: a test in the body
may find it to be one number again. The estimate keeps that away from loops that are verified as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyebpf.frontend import tree
from pyebpf.frontend.bounds import weight
from pyebpf.frontend.build_frame import nodes
from pyebpf.frontend.build_state import State
from pyebpf.frontend.types import Int
from pyebpf.ir.ops import AtomicOp
from pyebpf.records import dataclass, fields

STATES = 200_000
"""So many instructions are walked through before anything is hidden; the verifier's limit is a million."""

Loop = tree.While | tree.ForRange | tree.ForConstants


@dataclass(frozen=True, slots=True)
class _Assignment:
    """``times``: how often an iteration may come here. ``chosen``: not on every way through it."""

    local: tree.Local
    value: tree.Expr
    times: int
    chosen: bool


def forget_known(f: State, node: Loop) -> None:
    """At the begin of an iteration of ``node``: hide the variables in which known numbers would multiply."""
    trips = len(node.values) if isinstance(node, tree.ForConstants) else node.trips
    growing = _growing(f.source, node.body, trips)
    states = weight(node.body) * trips
    for numbers in growing.values():
        states *= numbers
    if states <= STATES:
        return
    for local in growing:
        assert isinstance(local.type, Int)
        width, signed = _width(f, local)
        slot = f.slot(node, f"hidden {local.name}", 8, local.name)
        f.b.store(slot.pointer, slot.offset, 8, f.load_local(local, local.type))
        # every kernel has the addition, only 5.12 and later the other atomic operations
        f.b.atomic(AtomicOp.ADD, slot.pointer, slot.offset, 8, f.b.const(0))
        at = slot.offset + (0 if f.target.little_endian else 8 - width)
        f.store_local(local, f.b.load(slot.pointer, at, width, signed=signed and width < 8))


def _growing(function: tree.Function, body: tree.Body, trips: int) -> dict[tree.Local, int]:
    """How many known numbers a variable may hold; of those alone that may be hidden."""
    everywhere = list(_assignments(function.body, 1, False))
    known = _known(everywhere)
    looked_at = _looked_at(function, everywhere)
    kept = _kept(function)
    found: dict[tree.Local, list[_Assignment]] = {}
    for one in _assignments(body, 1, False):
        if one.chosen and _pure(one.value, known):
            found.setdefault(one.local, []).append(one)
    return {
        local: _numbers(local, ones, trips)
        for local, ones in found.items()
        if local in looked_at and local not in kept and not local.boxed and _whole(function, body, local)
    }


def _numbers(local: tree.Local, ones: list[_Assignment], trips: int) -> int:
    """How many known numbers ``ones`` may lead to in ``trips`` iterations."""
    spread, free, constants = 0, 0, 1
    for one in ones:
        if isinstance(one.value, tree.IntConst):
            constants += 1
        elif (step := _step(local, one.value)) is not None:
            spread += step * one.times * trips
        else:
            free += one.times * trips
    ways = sum(one.times for one in ones) * trips
    return min(constants * (spread + 1) << min(free, 30), 1 << min(ways, 30))


def _step(local: tree.Local, value: tree.Expr) -> int | None:
    """How far ``v = v + 3`` moves it."""
    while isinstance(value, tree.Wrap | tree.Reinterpret):
        value = value.operand
    if not isinstance(value, tree.Arith) or value.op not in (tree.ArithOp.ADD, tree.ArithOp.SUB):
        return None
    left, right = value.left, value.right
    if isinstance(left, tree.GetLocal) and left.local is local and isinstance(right, tree.IntConst):
        return abs(right.value)
    return None


def _assignments(item: object, times: int, chosen: bool) -> Iterator[_Assignment]:
    """Every assignment to an integer variable in ``item``, in source order."""
    match item:
        case tuple():
            for child in item:
                yield from _assignments(child, times, chosen)
                chosen = chosen or any(isinstance(n, tree.Continue) for n in nodes(child))
        case tree.Function():
            return
        case tree.SetLocal(local=local, value=value) | tree.Bind(local=local, value=value):
            choice = any(isinstance(n, tree.Conditional) for n in nodes(value))
            if isinstance(local.type, Int):
                yield _Assignment(local, value, times, chosen or choice)
            yield from _assignments(value, times, True)
        case (
            tree.While(body=body, orelse=orelse, trips=trips)
            | tree.ForRange(body=body, orelse=orelse, trips=trips)
        ):
            yield from _assignments(body, times * trips, chosen)
            yield from _assignments(orelse, times, True)
        case tree.Node():
            for part in fields(item):
                yield from _assignments(getattr(item, part.name), times, True)
        case _:
            return


def _known(everywhere: list[_Assignment]) -> set[tree.Local]:
    """The variables that may hold a number that the verifier knows."""
    known: set[tree.Local] = set()
    while more := {a.local for a in everywhere if a.local not in known and _pure(a.value, known)}:
        known |= more
    return known


def _pure(value: tree.Expr, known: set[tree.Local]) -> bool:
    """Whether ``value`` may be computed from known numbers alone."""
    match value:
        case tree.IntConst():
            return True
        case tree.GetLocal(local=local):
            return local in known
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


def _looked_at(function: tree.Function, everywhere: list[_Assignment]) -> set[tree.Local]:
    """The variables on which a test or an address depends."""
    found: set[tree.Local] = set()
    for node in nodes(function.body):
        match node:
            case tree.Compare() | tree.Truth() | tree.ElementOf() | tree.MapLookup() | tree.HelperCall():
                found |= _read(node)
            case tree.Arith(op=op, right=right) if op not in (tree.ArithOp.ADD, tree.ArithOp.SUB):
                found |= _read(right)
            case _:
                pass
    before = -1
    while before != len(found):
        before = len(found)
        for one in everywhere:
            if one.local in found:
                found |= _read(one.value)
    return found


def _read(root: object) -> set[tree.Local]:
    return {node.local for node in nodes(root) if isinstance(node, tree.GetLocal)}


def _kept(function: tree.Function) -> set[tree.Local]:
    """What the verifier needs to see the end of ``while`` loops; what callbacks share."""
    found = set(function.captures)
    for node in nodes(function.body):
        match node:
            case tree.While(test=test, body=body):
                found |= _read(test)
                for child in nodes(body):
                    if isinstance(child, tree.If):
                        found |= _read(child.test) if _leaves(child) else set()
            case tree.Function(captures=captures):
                found |= set(captures)
            case _:
                pass
    return found


def _leaves(node: tree.If) -> bool:
    ways = tree.Break | tree.Return | tree.Raise
    return any(isinstance(child, ways) for child in nodes((*node.body, *node.orelse)))


def _range(local: tree.Local) -> tuple[int, int]:
    assert isinstance(local.type, Int)
    return local.type.lo, local.type.hi


def _whole(function: tree.Function, body: tree.Body, local: tree.Local) -> bool:
    """Whether nothing relies on an interval that the verifier would see in what is computed, but not in what is hidden:
    the variable enters an iteration with any number of its type. What a test or an assignment finds, it sees then too."""
    lo, hi = _range(local)
    widths = (8, 16, 32, 64)
    if (lo, hi) not in {(0, (1 << n) - 1) for n in widths} | {
        (-(1 << n - 1), (1 << n - 1) - 1) for n in widths
    }:
        return False
    first = _first(body, local)
    if first is not None:
        return (first.lo, first.hi) == (lo, hi)
    read = [n.type for n in nodes(function.body) if isinstance(n, tree.GetLocal) and n.local is local]
    kinds = [kind for kind in read if isinstance(kind, Int)]
    narrowed = any(k.seen and k.lo != k.hi and (k.lo, k.hi) != (lo, hi) for k in kinds)
    return not narrowed and any((k.lo, k.hi) == (lo, hi) for k in kinds)


def _first(body: tree.Body, local: tree.Local) -> Int | None:
    """What the variable is known to be where ``body`` reads it first; None where it may be assigned before."""
    for node in nodes(body):
        match node:
            case tree.GetLocal(local=read, type=Int() as kind) if read is local:
                return kind
            case tree.SetLocal(local=changed, value=value) | tree.Bind(local=changed, value=value):
                if changed is local and local not in _read(value):
                    return None
            case tree.While() | tree.ForRange() | tree.ForConstants() | tree.Function():
                return None  # at the head of another loop more is possible
            case _:
                pass
    return None


def _width(f: State, local: tree.Local) -> tuple[int, bool]:
    """Bytes, and whether signed, of the type that has the range of ``local``."""
    lo, hi = _range(local)
    return ((hi - lo).bit_length() + 7) // 8, lo < 0
