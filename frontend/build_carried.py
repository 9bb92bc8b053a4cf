"""How the cells of a function are assigned: where, from what, and on which ways."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from pyebpf.frontend import tree
from pyebpf.frontend.build_cells import Cell, Cells, Read, Somewhere, is_number
from pyebpf.frontend.loop_weight import Loop, breaks, trips_of
from pyebpf.frontend.tree_nodes import nodes
from pyebpf.records import dataclass, fields, replace

_SOURCES = 8
"""So many ways in which a value may come from known numbers are told apart."""
_NOTHING: frozenset[Read] = frozenset()


@dataclass(frozen=True, slots=True)
class Assignment:
    """``times``: how often an iteration may come here. ``chosen``: not on every way through it, or not on all equally often.
    ``step``: what is added to what the cell held before; ``constant``: the value; where these are known.

    ``reads``: what the value depends on; ``forks``: it depends on the way through it as well. The value may be a known
    number if all of one of ``sources`` are, it is one if all ``needs`` are (None: never). ``places``: the same as
    ``sources`` for the place of a ``Somewhere``.
    """

    cell: Cell
    times: int
    chosen: bool
    step: int | None
    constant: int | None
    reads: AbstractSet[Read]
    forks: bool
    sources: tuple[AbstractSet[Read], ...]
    needs: AbstractSet[Read] | None
    places: tuple[AbstractSet[Read], ...] = (_NOTHING,)


class Assignments:
    """All assignments to cells in one function. ``fixed``: the variables that hold known numbers, the same on all ways."""

    def __init__(self, cells: Cells, memo: dict[tree.Function, Assignments] | None = None) -> None:
        self.cells = cells
        self._memo = {} if memo is None else memo
        self._memo[cells.function] = self
        body = cells.function.body
        self.counters: set[Read] = {
            node.local for node in nodes(body) if isinstance(node, tree.ForRange | tree.ForConstants)
        }
        self.all = list(self.within(body))
        self.known = self._may_be_known()
        self._fixed = self._must_be_known()

    def of(self, function: tree.Function) -> Assignments:
        """Those of another function."""
        return self._memo.get(function) or Assignments(self.cells.of(function), self._memo)

    def _may_be_known(self) -> set[Read]:
        """The cells that may hold a number that the verifier knows."""
        known = set(self.counters)
        while more := {
            a.cell for a in self.all if a.cell not in known and any(s <= known for s in a.sources)
        }:
            known |= more
        return known

    def _must_be_known(self) -> set[Read]:
        """The variables that hold a number that the verifier knows wherever they are read."""
        fixed = self.counters | {one.cell for one in self.all if isinstance(one.cell, tree.Local)}
        fixed -= set(self.cells.outside())
        ranges = [n for n in nodes(self.cells.function.body) if isinstance(n, tree.ForRange)]
        while True:
            other: set[Read] = {a.cell for a in self.all if a.needs is None or not a.needs <= fixed}
            other |= {n.local for n in ranges if (needs := self.needs(n.start)) is None or not needs <= fixed}
            if not other & fixed:
                return fixed
            fixed -= other

    def inside(self, loop: Loop) -> list[Assignment]:
        """The assignments in the body of ``loop``; what is chosen there is so between ways through one iteration."""
        fixed = set(self._fixed)
        while True:
            here = list(self.within(loop.body, fixed=fixed))
            other: set[Read] = {
                one.cell
                for one in here
                if one.chosen or one.forks or one.needs is None or not one.needs <= fixed
            }
            if not other & fixed:
                return here
            fixed -= other

    def numbers(self) -> Iterator[tree.Local]:
        """The parameters that are cells."""
        yield from (p for p in self.cells.function.params if is_number(p.type))

    def steady(self, loop: Loop) -> bool:
        """Whether ``loop`` is left in one way only, after the same number of iterations."""
        return self._steady(loop, self._fixed)

    # ------------------------------------------------------------ where

    def within(
        self, item: object, times: int = 1, chosen: bool = False, fixed: AbstractSet[Read] = _NOTHING
    ) -> Iterator[Assignment]:
        """Every assignment to a cell in ``item``, in source order. ``fixed``: the variables on which the number of iterations
        of a loop may depend without being another on other ways."""
        match item:
            case tuple():
                for child in item:
                    yield from self.within(child, times, chosen, fixed)
                    chosen = chosen or any(isinstance(n, tree.Continue) for n in nodes(child))
            case tree.Function():
                return
            case tree.SetLocal(local=local, value=value) | tree.Bind(local=local, value=value):
                if is_number(local.type):
                    yield self._assignment(local, value, times, chosen, _step(self.cells, local, value))
                yield from self.within(value, times, True, fixed)
            case tree.StoreTo(ref=ref, value=value) | tree.UpdateTo(ref=ref, value=value):
                yield from self._stored(item, times, chosen)
                yield from self.within((ref, value), times, True, fixed)
            case tree.CopyInto(target=target, source=source):
                for whole in self.cells.wholes(target):
                    yield self._assignment(Somewhere(whole.base), source, times, True, None)
                yield from self.within((target, source), times, True, fixed)
            case tree.While() | tree.ForRange() | tree.ForConstants():
                varies = chosen or not self._steady(item, fixed)
                yield from self.within(item.body, times * trips_of(item), varies, fixed)
                yield from self.within(item.orelse, times, True, fixed)
            case tree.FunctionCall(args=args):
                yield from self.within(args, times, True, fixed)
                yield from self._called(item, times, chosen)
            case tree.Node():
                for part in fields(item):
                    yield from self.within(getattr(item, part.name), times, True, fixed)
            case _:
                return

    def _stored(self, at: tree.StoreTo | tree.UpdateTo, times: int, chosen: bool) -> Iterator[Assignment]:
        cells = self.cells.referred(at.ref)
        places = self._places(at.ref)
        for cell in cells:
            step = _step(self.cells, cell, at.value)
            if isinstance(at, tree.UpdateTo):
                adds = at.op in (tree.ArithOp.ADD, tree.ArithOp.SUB)
                step = _constant(at.value) if adds else None
            one = self._assignment(cell, at.value, times, chosen or len(cells) > 1, step)
            constant = None if isinstance(at, tree.UpdateTo) else one.constant
            reads = one.reads | self.cells.reads(at.ref)
            yield replace(one, constant=constant, places=places, reads=reads - {cell})

    def _places(self, ref: tree.Expr) -> tuple[AbstractSet[Read], ...]:
        """Which numbers must be known for the place to be known."""
        found: set[Read] = set()
        while isinstance(ref, tree.FieldOf | tree.ElementOf | tree.SliceOf):
            if isinstance(ref, tree.ElementOf):
                needs = self.needs(ref.index)
                if needs is None:
                    return ()
                found |= needs
            ref = ref.base
        return (found,)

    def _called(self, call: tree.FunctionCall, times: int, chosen: bool) -> Iterator[Assignment]:
        """What the callee does to objects and variables of its caller's."""

        def here(cells: AbstractSet[Read]) -> set[Read]:
            return self.cells.from_callee(cells, call.function, call.args)

        for one in self.of(call.function).all:
            cells = self.cells.cells_of_caller(one.cell, call.function, call.args)
            for cell in cells:
                yield replace(
                    one,
                    cell=cell,
                    times=one.times * times,
                    chosen=one.chosen or chosen or len(cells) > 1,
                    reads=here(one.reads),
                    sources=tuple(here(s) for s in one.sources),
                    needs=None,
                    places=tuple(here(s) for s in one.places),
                )

    def _steady(self, loop: Loop, fixed: AbstractSet[Read]) -> bool:
        """Whether a loop has the same number of iterations on every way."""
        match loop:
            case tree.ForConstants():
                bounds: tuple[tree.Expr, ...] = ()
            case tree.ForRange(start=start, stop=stop):
                bounds = (start, stop)
            case tree.While(test=tree.Compare(left=left, right=right)):
                bounds = (left, right)
            case _:
                return False
        found = [self.needs(bound) for bound in bounds]
        return not breaks(loop.body) and all(needs is not None and needs <= fixed for needs in found)

    # ------------------------------------------------------------ what

    def _assignment(
        self, cell: Cell, value: tree.Expr, times: int, chosen: bool, step: int | None
    ) -> Assignment:
        return Assignment(
            cell,
            times,
            chosen,
            None if step is None else abs(step),
            _constant(value),
            self.cells.reads(value),
            any(isinstance(node, _FORKS) for node in nodes(value)),
            tuple(self.sources(value)),
            self.needs(value),
        )

    def sources(self, value: tree.Expr) -> list[AbstractSet[Read]]:
        """The sets of cells of which all must be known for ``value`` to be known on one way at least."""
        match value:
            case tree.IntConst():
                return [_NOTHING]
            case tree.GetLocal(local=local) if is_number(local.type):
                return [{local}]
            case tree.Read(ref=ref):
                return [{cell} for cell in self.cells.referred(ref)]
            case tree.Arith(left=left, right=right):
                pairs = [one | two for one in self.sources(left) for two in self.sources(right)]
                return pairs[:_SOURCES]
            case tree.Conditional(then=then, otherwise=otherwise):
                return [*self.sources(then), *self.sources(otherwise)][:_SOURCES]
            case tree.Bind(value=inner):
                return self.sources(inner)
            case _ if isinstance(value, _UNARY):
                return self.sources(value.operand)
            case _:
                return []

    def needs(self, value: tree.Expr) -> AbstractSet[Read] | None:
        """The cells that must be known for ``value`` to be known on every way; None if it is not even then."""
        match value:
            case tree.IntConst():
                return _NOTHING
            case tree.GetLocal(local=local) if is_number(local.type):
                return {local}
            case tree.Arith(left=left, right=right) | tree.Conditional(then=left, otherwise=right):
                one, two = self.needs(left), self.needs(right)
                return None if one is None or two is None else one | two
            case tree.Bind(value=inner):
                return self.needs(inner)
            case _ if isinstance(value, _UNARY):
                return self.needs(value.operand)
            case _:
                return None


_UNARY = (tree.Wrap, tree.Reinterpret, tree.Negate, tree.Invert, tree.ToInt)
_FORKS = (
    tree.Conditional,
    tree.Compare,
    tree.Truth,
    tree.Logic,
    tree.Not,
    tree.IsNone,
    tree.FunctionCall,
    tree.LoopCall,
)


def _constant(value: tree.Expr) -> int | None:
    return value.value if isinstance(value, tree.IntConst) else None


def _step(cells: Cells, cell: Cell, value: tree.Expr) -> int | None:
    """How far ``v = v + 3`` moves it."""
    while isinstance(value, tree.Wrap | tree.Reinterpret):
        value = value.operand
    if not isinstance(value, tree.Arith) or value.op not in (tree.ArithOp.ADD, tree.ArithOp.SUB):
        return None
    return _constant(value.right) if cell in cells.read_by(value.left) else None
