"""Which cells are read behind a place before they are assigned again, and which are assigned wherever it is reached."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from pyebpf.frontend import tree
from pyebpf.frontend.build_cells import Cells, Part, Read, Whole
from pyebpf.frontend.loop_weight import LOOPS, Loop
from pyebpf.records import dataclass, fields

_Assigned = frozenset[Read] | None
"""What is assigned on every way to a place; None where no way leads there."""


@dataclass(frozen=True, slots=True)
class Step:
    """One level of the way to a statement: it is in ``body[at]``, and ``body`` belongs to ``owner``."""

    owner: tree.Node
    body: tree.Body
    at: int

    @property
    def rest(self) -> tree.Body:
        """What follows at this level."""
        return self.body[self.at + 1 :]

    @property
    def repeated(self) -> bool:
        """Whether it is the body of a loop."""
        return isinstance(self.owner, LOOPS) and self.owner.body is self.body

    @property
    def caught(self) -> tree.Try | None:
        """The statement whose handlers or end are reached from here."""
        inside = isinstance(self.owner, tree.Try) and self.owner.final is not self.body
        return self.owner if inside and isinstance(self.owner, tree.Try) else None


def way_to(owner: tree.Node, target: tree.Node) -> tuple[Step, ...]:
    """The levels from ``owner`` down to the statement ``target``."""
    return tuple(_search(owner, target) or ())


def _search(owner: tree.Node, target: tree.Node) -> list[Step] | None:
    for body in _bodies(owner):
        for at, statement in enumerate(body):
            if statement is target:
                return [Step(owner, body, at)]
            found = _search(statement, target)
            if found is not None:
                return [Step(owner, body, at), *found]
    return None


def _bodies(node: tree.Node) -> Iterator[tree.Body]:
    match node:
        case tree.Function(body=body) | tree.Reserve(body=body):
            yield body
        case tree.If() | tree.While() | tree.ForRange() | tree.ForConstants():
            yield node.body
            yield node.orelse
        case tree.Try(body=body, handlers=handlers, orelse=orelse, final=final):
            yield body
            yield from (handler.body for handler in handlers)
            yield orelse
            yield final
        case _:
            return


class Life:
    """What is live around one loop. ``before``: the variables that are assigned wherever the loop begins; ``after``: what is
    read behind it; ``carried``: what may be read of what an iteration finds; ``caught``: what handlers around the loop
    may read."""

    def __init__(self, cells: Cells, function: tree.Function, loop: Loop) -> None:
        self._cells = cells
        self.way = way_to(function, loop)
        self.before = self._assigned_before(function)
        self.caught: set[Read] = set()
        self.after = self._read_behind(loop)
        self.carried = self._carried(loop)

    def _assigned_before(self, function: tree.Function) -> AbstractSet[Read]:
        assigned: _Assigned = frozenset((*function.params, *function.captures))
        ignored: set[Read] = set()
        for step in self.way:
            if isinstance(step.owner, tree.ForRange | tree.ForConstants) and step.repeated:
                assigned = _with(assigned, step.owner.local)
            if isinstance(step.owner, tree.Reserve):
                assigned = _with(assigned, step.owner.local)
            assigned = self._read(step.body[: step.at], assigned, ignored)
        return assigned or frozenset()

    def _read_behind(self, loop: Loop) -> set[Read]:
        found: set[Read] = set()
        for local in self._cells.outside():
            found |= {local, Whole(local)}
        assigned: _Assigned = frozenset()
        self._read(loop.orelse, assigned, found)
        for step in reversed(self.way):
            ahead = self._read(step.rest, assigned, found)
            if step.repeated:
                test = step.owner.test if isinstance(step.owner, tree.While) else ()
                self._read((test, step.body), ahead, found)
                assert isinstance(step.owner, tree.While | tree.ForRange | tree.ForConstants)
                self._read(step.owner.orelse, ahead, found)
            elif (caught := step.caught) is not None:
                behind: set[Read] = set()
                self._read(tuple(h.body for h in caught.handlers), frozenset(), behind)
                self._read((caught.orelse, caught.final), frozenset(), behind)
                self.caught |= behind
                found |= behind
            else:
                assigned = assigned if ahead is None else ahead
        if self.caught or any(step.caught for step in self.way):
            self.caught |= found
        return found

    def _carried(self, loop: Loop) -> set[Read]:
        found: set[Read] = set(self.caught)
        test = loop.test if isinstance(loop, tree.While) else ()
        start: _Assigned = frozenset() if isinstance(loop, tree.While) else frozenset([loop.local])
        end = self._read((test, loop.body), start, found, self.after)
        if end is not None:
            found |= self.after - end
        return found

    # ------------------------------------------------------------ what is read before it is assigned

    def _read(
        self, item: object, assigned: _Assigned, found: set[Read], leaving: AbstractSet[Read] = frozenset()
    ) -> _Assigned:
        """Add to ``found`` what ``item`` reads before it is assigned, and of ``leaving`` what is not assigned where a loop is
        left; what is assigned behind it."""
        if assigned is None:
            return None
        match item:
            case tuple():
                for child in item:
                    assigned = self._read(child, assigned, found, leaving)
                return assigned
            case tree.SetLocal(local=local, value=value) | tree.Bind(local=local, value=value):
                return _with(self._read(value, assigned, found, leaving), local)
            case tree.StoreTo(ref=ref, value=value):
                assigned = self._read((ref, value), assigned, found, leaving)
                cells = self._cells.referred(ref)
                only = cells[0] if len(cells) == 1 else None
                return _with(assigned, only) if isinstance(only, Part) else assigned
            case tree.UpdateTo(ref=ref):
                found |= set(self._cells.referred(ref)) - assigned
            case tree.If(test=test, body=one, orelse=two):
                return self._fork(test, one, two, assigned, found, leaving)
            case tree.Conditional(test=test, then=one, otherwise=two):
                return self._fork(test, one, two, assigned, found, leaving)
            case tree.Logic(operands=(first, *others)):
                assigned = self._read(first, assigned, found, leaving)
                self._read(tuple(others), assigned, found, leaving)
                return assigned
            case tree.While() | tree.ForRange() | tree.ForConstants():
                return self._loop(item, assigned, found, leaving)
            case tree.Try(body=body, handlers=handlers, orelse=orelse, final=final):
                self._read((*body, *orelse), assigned, found, leaving)
                for handler in handlers:
                    self._read(handler.body, assigned, found, leaving)
                return self._read(final, assigned, found, leaving)
            case tree.Break() | tree.Continue():
                found |= leaving - assigned
                return None
            case tree.Return() | tree.TailCall() | tree.Raise() | tree.Reraise():
                for part in fields(item):
                    self._read(getattr(item, part.name), assigned, found, leaving)
                return None
            case tree.Function(captures=captures):
                found |= set(captures) - assigned
                return assigned
            case _:
                pass
        if isinstance(item, tree.Node):
            for part in fields(item):
                assigned = self._read(getattr(item, part.name), assigned, found, leaving)
            if assigned is not None:
                found |= self._reads_of(item) - assigned
        return assigned

    def _reads_of(self, node: tree.Node) -> AbstractSet[Read]:
        args: tuple[tree.Expr, ...] = ()
        match node:
            case tree.FunctionCall(args=args) | tree.HelperCall(args=args):
                pass
            case tree.MapLookup(key=key) | tree.MapDelete(key=key):
                args = (key,)
            case tree.MapUpdate(key=key, value=value):
                args = (key, value)
            case tree.LoopCall(state=tree.Node() as state):
                args = (state,)
            case _:
                pass
        read = self._cells.read_by(node)
        for arg in args:
            read |= self._cells.wholes(arg)
        return read

    def _fork(
        self,
        test: tree.Expr,
        one: object,
        two: object,
        assigned: _Assigned,
        found: set[Read],
        leaving: AbstractSet[Read],
    ) -> _Assigned:
        assigned = self._read(test, assigned, found, leaving)
        ways = [self._read(arm, assigned, found, leaving) for arm in (one, two)]
        open_ = [way for way in ways if way is not None]
        return frozenset.intersection(*open_) if open_ else None

    def _loop(
        self, loop: Loop, assigned: _Assigned, found: set[Read], leaving: AbstractSet[Read]
    ) -> _Assigned:
        if isinstance(loop, tree.While):
            assigned = self._read(loop.test, assigned, found, leaving)
            inside = assigned
        else:
            if isinstance(loop, tree.ForRange):
                assigned = self._read((loop.start, loop.stop), assigned, found, leaving)
            inside = _with(assigned, loop.local)
        self._read(loop.body, inside, found, leaving)
        self._read(loop.orelse, assigned, found, leaving)
        return assigned


def _with(assigned: _Assigned, cell: Read) -> _Assigned:
    return None if assigned is None else assigned | {cell}
