"""What the iterations of a loop pass on to each other: its cells, and how they are assigned and looked at.

A *cell* is an integer or truth value that lives as long as its function: a variable, or a part of an object on the stack
at a fixed place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from pyebpf.frontend import tree
from pyebpf.frontend.build_counters import fixed_place
from pyebpf.frontend.tree_nodes import nodes
from pyebpf.frontend.types import Bool, Int, Origin, Ref
from pyebpf.layout import IntType
from pyebpf.records import dataclass, fields

Loop = tree.While | tree.ForRange | tree.ForConstants


@dataclass(frozen=True, slots=True)
class Part:
    """An integer at ``offset`` in the object that a reference variable refers to."""

    base: tree.Local
    offset: int
    layout: IntType


Cell = tree.Local | Part


@dataclass(frozen=True, slots=True)
class Assignment:
    """``times``: how often an iteration may come here. ``chosen``: not on every way through it. ``step``: what is added
    to what the cell held before, where that is a constant."""

    cell: Cell
    value: tree.Expr
    times: int
    chosen: bool
    step: int | None


def trips_of(loop: Loop) -> int:
    """The most iterations."""
    return len(loop.values) if isinstance(loop, tree.ForConstants) else loop.trips


def cell_of(expr: tree.Expr) -> Cell | None:
    """The cell that ``expr`` reads, or refers to."""
    match expr:
        case tree.GetLocal(local=local) if isinstance(local.type, Int | Bool):
            return local
        case tree.Read(ref=ref):
            return cell_of(ref)
        case tree.FieldOf() | tree.ElementOf() | tree.GetLocal():
            found = fixed_place(expr)
            if found is None or not isinstance(expr.type, Ref) or not isinstance(expr.type.layout, IntType):
                return None
            base = found[0]
            on_stack = isinstance(base.type, Ref) and base.type.origin in (Origin.LOCAL, Origin.CALLER)
            return Part(base, found[1], expr.type.layout) if on_stack else None
        case _:
            return None


def read_cells(root: object) -> set[Cell]:
    """The cells that are read anywhere in ``root``."""
    found = (cell_of(node) for node in nodes(root) if isinstance(node, tree.GetLocal | tree.Read))
    return {cell for cell in found if cell is not None}


def assignments(item: object, times: int = 1, chosen: bool = False) -> Iterator[Assignment]:
    """Every assignment to a cell in ``item``, in source order."""
    match item:
        case tuple():
            for child in item:
                yield from assignments(child, times, chosen)
                chosen = chosen or any(isinstance(n, tree.Continue) for n in nodes(child))
        case tree.Function():
            return
        case tree.SetLocal(local=local, value=value) | tree.Bind(local=local, value=value):
            if isinstance(local.type, Int | Bool):
                yield Assignment(local, value, times, chosen, _step(local, value))
            yield from assignments(value, times, True)
        case tree.StoreTo(ref=ref, value=value):
            if (cell := cell_of(ref)) is not None:
                yield Assignment(cell, value, times, chosen, _step(cell, value))
            yield from assignments(value, times, True)
        case tree.UpdateTo(ref=ref, value=value):
            if (cell := cell_of(ref)) is not None:
                adds = item.op in (tree.ArithOp.ADD, tree.ArithOp.SUB)
                step = abs(value.value) if adds and isinstance(value, tree.IntConst) else None
                yield Assignment(cell, value, times, chosen, step)
            yield from assignments(value, times, True)
        case tree.While() | tree.ForRange() | tree.ForConstants():
            yield from assignments(item.body, times * trips_of(item), chosen)
            yield from assignments(item.orelse, times, True)
        case tree.Node():
            for part in fields(item):
                yield from assignments(getattr(item, part.name), times, True)
        case _:
            return


def _step(cell: Cell, value: tree.Expr) -> int | None:
    """How far ``v = v + 3`` moves it."""
    while isinstance(value, tree.Wrap | tree.Reinterpret):
        value = value.operand
    if not isinstance(value, tree.Arith) or value.op not in (tree.ArithOp.ADD, tree.ArithOp.SUB):
        return None
    if cell_of(value.left) == cell and isinstance(value.right, tree.IntConst):
        return abs(value.right.value)
    return None


def looked_at(part: object, everywhere: Iterable[Assignment], *, result: bool) -> set[Cell]:
    """The cells on which a test, an address or a call in ``part`` depends, through assignments too. ``result``: what a
    function returns is looked at by its callers."""
    found: set[Cell] = set()
    for node in nodes(part):
        match node:
            case tree.Compare() | tree.Truth() | tree.Logic() | tree.Not() | tree.MapLookup():
                found |= read_cells(node)
            case tree.HelperCall() | tree.FunctionCall() | tree.ElementOf() | tree.PacketView():
                found |= read_cells(node)
            case tree.If(test=test) | tree.While(test=test) | tree.Conditional(test=test):
                found |= read_cells(test)
            case tree.Return(value=value) if result and value is not None:
                found |= read_cells(value)
            case tree.Arith(op=op, right=right) if op not in (tree.ArithOp.ADD, tree.ArithOp.SUB):
                found |= read_cells(right)
            case tree.ForRange(start=start, stop=stop):
                found |= read_cells((start, stop))
            case _:
                pass
    values = [(one.cell, read_cells(one.value)) for one in everywhere]
    before = -1
    while before != len(found):
        before = len(found)
        for cell, read in values:
            if cell in found:
                found |= read
    return found


def carried(function: tree.Function, loop: Loop) -> set[Cell]:
    """The cells whose value at the begin of an iteration may be read: in the body before they are assigned there, or
    outside of it."""
    found: set[Cell] = set()
    _read_first(loop.body, frozenset(), found)
    inside = {id(node) for node in nodes(loop.body)}
    for node in nodes(function.body):
        if id(node) not in inside and isinstance(node, tree.GetLocal | tree.Read):
            cell = cell_of(node)
            if cell is not None:
                found.add(cell)
    return found


_Assigned = frozenset[Cell] | None
"""The cells that are assigned on every way to a place; None where no way leads there."""


def _read_first(item: object, assigned: _Assigned, found: set[Cell]) -> _Assigned:
    """Add to ``found`` what ``item`` reads before it is assigned; what is assigned behind it."""
    if assigned is None:
        return None
    match item:
        case tuple():
            for child in item:
                assigned = _read_first(child, assigned, found)
            return assigned
        case tree.GetLocal() | tree.Read():
            cell = cell_of(item)
            if cell is not None:
                if cell not in assigned:
                    found.add(cell)
                return assigned
        case tree.SetLocal(local=local, value=value) | tree.Bind(local=local, value=value):
            return _with(_read_first(value, assigned, found), local)
        case tree.StoreTo(ref=ref, value=value) if (cell := cell_of(ref)) is not None:
            return _with(_read_first(value, assigned, found), cell)
        case tree.UpdateTo(ref=ref) if (cell := cell_of(ref)) is not None and cell not in assigned:
            found.add(cell)
        case tree.If(test=test, body=body, orelse=orelse):
            assigned = _read_first(test, assigned, found)
            return _both(_read_first(body, assigned, found), _read_first(orelse, assigned, found))
        case tree.Conditional(test=test, then=then, otherwise=otherwise):
            assigned = _read_first(test, assigned, found)
            return _both(_read_first(then, assigned, found), _read_first(otherwise, assigned, found))
        case tree.Logic(operands=(first, *others)):
            assigned = _read_first(first, assigned, found)
            _read_first(tuple(others), assigned, found)
            return assigned
        case tree.While(test=test, body=body, orelse=orelse):
            assigned = _read_first(test, assigned, found)
            _read_first(body, assigned, found)
            _read_first(orelse, assigned, found)
            return assigned
        case tree.ForRange() | tree.ForConstants():
            if isinstance(item, tree.ForRange):
                assigned = _read_first((item.start, item.stop), assigned, found)
            _read_first(item.body, _with(assigned, item.local), found)
            _read_first(item.orelse, assigned, found)
            return assigned
        case tree.Try(body=body, handlers=handlers, orelse=orelse, final=final):
            _read_first((*body, *orelse), assigned, found)
            for handler in handlers:
                _read_first(handler.body, assigned, found)
            return _read_first(final, assigned, found)
        case tree.Break() | tree.Continue():
            return None
        case tree.Return() | tree.TailCall() | tree.Raise():
            for part in fields(item):
                _read_first(getattr(item, part.name), assigned, found)
            return None
        case tree.Function(captures=captures):
            found |= set(captures) - assigned
            return assigned
        case _:
            pass
    if isinstance(item, tree.Node):
        for part in fields(item):
            assigned = _read_first(getattr(item, part.name), assigned, found)
    return assigned


def _with(assigned: _Assigned, cell: Cell) -> _Assigned:
    return None if assigned is None else assigned | {cell}


def _both(one: _Assigned, two: _Assigned) -> _Assigned:
    if one is None or two is None:
        return two if one is None else one
    return one & two


def varies(value: tree.Expr, varying: Collection[Cell]) -> bool:
    """Whether ``value`` may depend on the way through an iteration. ``varying``: the cells that do."""
    ways = (
        tree.Conditional
        | tree.Compare
        | tree.Truth
        | tree.Logic
        | tree.Not
        | tree.FunctionCall
        | tree.LoopCall
    )
    return any(isinstance(node, ways) for node in nodes(value)) or bool(read_cells(value) & set(varying))
