"""Which variables and parts of objects on the stack an expression reads or refers to.

A *cell* is an integer or truth value that lives as long as its function: a variable, a part of an object on the stack at a
fixed place, or a part whose place is computed. An object has one name here, that of the variable that it was built for,
whatever other variables refer to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from pyebpf.frontend import tree
from pyebpf.frontend.tree_nodes import nodes
from pyebpf.frontend.types import Bool, Int, Origin, Ref, Type
from pyebpf.layout import ArrayType, IntType
from pyebpf.records import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """An integer at ``offset`` in the object that ``base`` was built for."""

    base: tree.Local
    offset: int
    layout: IntType


@dataclass(frozen=True, slots=True)
class Somewhere:
    """The integers of the object that ``base`` was built for which are reached by a computed index."""

    base: tree.Local


@dataclass(frozen=True, slots=True)
class Whole:
    """All of the object that ``base`` was built for, where it is read at once or at a computed place."""

    base: tree.Local


Cell = tree.Local | Part | Somewhere
Read = Cell | Whole
"""What may be read."""

_Place = tuple[tree.Local, int | None]
"""An object and the offset in it; None for a computed one."""
_Places = dict[_Place, None]

_STACK = (Origin.LOCAL, Origin.CALLER)


def covers(read: AbstractSet[Read], cell: Cell) -> bool:
    """Whether ``cell`` is among what was ``read``."""
    return cell in read or (not isinstance(cell, tree.Local) and Whole(cell.base) in read)


def is_number(kind: Type) -> bool:
    """Whether variables of this type are cells."""
    return isinstance(kind, Int | Bool)


class Cells:
    """The cells of one function, with those of the functions that it calls."""

    def __init__(self, function: tree.Function, memo: dict[tree.Function, Cells] | None = None) -> None:
        self.function = function
        self._memo = {} if memo is None else memo
        self._memo[function] = self
        self._objects = self._all_objects()

    def of(self, function: tree.Function) -> Cells:
        """The cells of another function."""
        return self._memo.get(function) or Cells(function, self._memo)

    def outside(self) -> Iterator[tree.Local]:
        """What belongs to the function's callers: the objects that it was given, the variables around it."""
        yield from self.function.captures
        yield from (p for p in self.function.params if _on_stack(p.type))

    # ------------------------------------------------------------ objects

    def _all_objects(self) -> dict[tree.Local, _Places]:
        found: dict[tree.Local, _Places] = {p: {(p, 0): None} for p in self.outside() if _on_stack(p.type)}
        aliases: list[tuple[tree.Local, tree.Expr]] = []
        for node in nodes(self.function.body):
            if isinstance(node, tree.SetLocal | tree.Bind) and isinstance(node.local.type, Ref):
                found.setdefault(node.local, {})
                aliases += ((node.local, value) for value in _arms(node.value))
        self._objects = found
        changed = True
        while changed:
            changed = False
            for local, value in aliases:
                own: _Places = {(local, 0): None} if _on_stack(value.type) else {}
                more = self.places(value) if _refers(value) else own
                changed = changed or not more.keys() <= found[local].keys()
                found[local] |= more
        return found

    def places(self, expr: tree.Expr) -> _Places:
        """Where on the stack ``expr`` may refer to."""
        match expr:
            case tree.GetLocal(local=local) | tree.Bind(local=local):
                return self._objects.get(local, {})
            case tree.FieldOf(base=base, field=field):
                return self._moved(base, field.offset)
            case tree.ElementOf(base=base, index=tree.IntConst(value=index)) if isinstance(base.type, Ref):
                layout = base.type.layout
                if not isinstance(layout, ArrayType):
                    return self._moved(base, None)
                return self._moved(base, index % layout.length * layout.element.size)
            case tree.ElementOf(base=base):
                return self._moved(base, None)
            case tree.SliceOf(base=base, start=start) if isinstance(base.type, Ref):
                layout = base.type.layout
                return self._moved(
                    base, start * (layout.element.size if isinstance(layout, ArrayType) else 1)
                )
            case tree.Conditional(then=then, otherwise=otherwise):
                return self.places(then) | self.places(otherwise)
            case _:
                return {}

    def _moved(self, base: tree.Expr, offset: int | None) -> _Places:
        return {
            (root, None if at is None or offset is None else at + offset): None
            for root, at in self.places(base)
        }

    # ------------------------------------------------------------ cells

    def referred(self, ref: tree.Expr) -> list[Cell]:
        """The cells that a reference to an integer may refer to."""
        if not isinstance(ref.type, Ref) or not isinstance(layout := ref.type.layout, IntType):
            return []
        places = self.places(ref)
        return _distinct(Somewhere(root) if at is None else Part(root, at, layout) for root, at in places)

    def wholes(self, ref: tree.Expr) -> set[Whole]:
        """The objects that a reference may refer to, or into."""
        return {Whole(root) for root, _ in self.places(ref)}

    def read_by(self, node: tree.Node) -> set[Read]:
        """What ``node`` itself reads, not what its operands do."""
        match node:
            case tree.GetLocal(local=local) if is_number(local.type):
                return {local}
            case tree.Read(ref=ref):
                return self._through(ref)
            case tree.CopyOf(source=ref) | tree.CopyInto(source=ref) | tree.LengthOfBytes(ref=ref):
                return set(self.wholes(ref))
            case tree.EqualBytes(left=left, right=right):
                return {*self.wholes(left), *self.wholes(right)}
            case _:
                return set()

    def _through(self, ref: tree.Expr) -> set[Read]:
        found: set[Read] = set()
        for cell in self.referred(ref):
            found |= {cell}
            if isinstance(cell, Part):
                found.add(Somewhere(cell.base))
            elif isinstance(cell, Somewhere):
                found.add(Whole(cell.base))
        return found

    def reads(self, root: object) -> set[Read]:
        """What is read anywhere in ``root``."""
        found: set[Read] = set()
        for node in nodes(root):
            found |= self.read_by(node)
        return found

    def from_callee(
        self, read: AbstractSet[Read], callee: tree.Function, args: Sequence[tree.Expr]
    ) -> set[Read]:
        """What is read of the caller's where ``callee``, called with ``args``, reads ``read``."""
        found: set[Read] = set()
        for cell in read:
            if isinstance(cell, Whole):
                for root, _ in self._given(cell.base, callee, args):
                    found.add(Whole(root))
            else:
                found.update(self.cells_of_caller(cell, callee, args))
        return found

    def cells_of_caller(self, cell: Cell, callee: tree.Function, args: Sequence[tree.Expr]) -> list[Cell]:
        """The cells of the caller that ``cell`` of ``callee`` is, where it gets ``args``."""
        if isinstance(cell, tree.Local):
            return [cell] if cell in callee.captures else []
        given = self._given(cell.base, callee, args)
        if isinstance(cell, Somewhere):
            return _distinct(Somewhere(root) for root, _ in given)
        offset, layout = cell.offset, cell.layout
        return _distinct(
            Somewhere(root) if at is None else Part(root, at + offset, layout) for root, at in given
        )

    def _given(self, base: tree.Local, callee: tree.Function, args: Sequence[tree.Expr]) -> _Places:
        """The caller's objects that a variable of ``callee`` stands for."""
        if base in callee.captures:
            return {(base, 0): None}
        found = (self.places(arg) for p, arg in zip(callee.params, args, strict=False) if p is base)
        return next(found, {})


def _distinct(cells: Iterable[Cell]) -> list[Cell]:
    return list(dict.fromkeys(cells))


def _on_stack(kind: Type) -> bool:
    return isinstance(kind, Ref) and kind.origin in _STACK


def _arms(value: tree.Expr) -> Iterator[tree.Expr]:
    """What ``value`` may be, by each way through its conditions."""
    if isinstance(value, tree.Conditional):
        yield from _arms(value.then)
        yield from _arms(value.otherwise)
    else:
        yield value


def _refers(value: tree.Expr) -> bool:
    """Whether it refers to an object that was there before."""
    return isinstance(value, tree.GetLocal | tree.Bind | tree.FieldOf | tree.ElementOf | tree.SliceOf)
