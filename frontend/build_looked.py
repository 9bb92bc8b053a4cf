"""Which cells tests, addresses and calls depend on, and what a loop's own tests ask of what it does not change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from pyebpf.frontend import tree
from pyebpf.frontend.build_carried import Assignment, Assignments
from pyebpf.frontend.build_cells import Cells, Read
from pyebpf.frontend.tree_nodes import nodes
from pyebpf.frontend.types import Ref, Type
from pyebpf.layout import ArrayType, IntType, Layout

WORD = 8
_LEAVES = (tree.Break, tree.Return, tree.Raise, tree.Reraise, tree.TailCall)


def looked_at(part: object, known: Assignments, *, result: bool) -> set[Read]:
    """The cells on which a test, an address or a call in ``part`` of a function depends, through assignments too. ``result``:
    what the function returns, and what it does to its callers' objects, is looked at by them."""
    cells = known.cells
    found: set[Read] = set()
    for node in nodes(part):
        found |= _looked_at_by(node, cells, known, result=result)
    if result:
        found |= {one.cell for one in known.all if _of_callers(one, cells)}
    return depends(found, known.all)


def _of_callers(one: Assignment, cells: Cells) -> bool:
    base = one.cell if isinstance(one.cell, tree.Local) else one.cell.base
    return base in set(cells.outside())


def measured(known: Assignments, *, result: bool) -> set[Read]:
    """The cells on whose intervals a missing check may rely: those of an index, of an offset, of the bounds of a loop, and of
    what goes to other functions. ``result``: what the function returns does."""
    cells = known.cells
    found: set[Read] = set()
    for node in nodes(cells.function.body):
        match node:
            case tree.ElementOf(index=part) | tree.PacketView(offset=part):
                found |= cells.reads(part)
            case (
                tree.PacketCopy()
                | tree.PacketStore()
                | tree.HelperCall()
                | tree.FunctionCall()
                | tree.LoopCall()
            ):
                found |= cells.reads(node)
            case tree.Return(value=part) if result:
                found |= cells.reads(part)
            case tree.ForRange(start=start, stop=stop):
                found |= cells.reads((start, stop))
            case tree.While(test=part):
                found |= cells.reads(part)
            case tree.Function(captures=captures):
                found |= set(captures)
            case _:
                pass
    return depends(found, known.all)


def depends(found: set[Read], everywhere: Iterable[Assignment]) -> set[Read]:
    """``found``, and what these cells are computed from."""
    before = -1
    while before != len(found):
        before = len(found)
        for one in everywhere:
            if one.cell in found:
                found |= one.reads
    return found


def _looked_at_by(node: tree.Node, cells: Cells, known: Assignments, *, result: bool) -> set[Read]:
    match node:
        case tree.Compare() | tree.Truth() | tree.Logic() | tree.Not() | tree.MapLookup() | tree.HelperCall():
            return cells.reads(node)
        case tree.PacketView() | tree.EqualBytes() | tree.LengthOfBytes():
            return cells.reads(node)
        case tree.ElementOf(index=index):
            return cells.reads(index)
        case tree.MapUpdate(key=key) if node.in_place:
            return cells.reads(key)
        case tree.FunctionCall(function=callee, args=args):
            inner = looked_at(callee.body, known.of(callee), result=True)
            return cells.reads(args) | cells.from_callee(inner, callee, args)
        case tree.LoopCall(count=count, body=body, state=state):
            inner = looked_at(body.body, known.of(body), result=True)
            args = (count,) if state is None else (count, state)
            return cells.reads(count) | cells.from_callee(inner, body, args)
        case tree.If(test=test) | tree.While(test=test) | tree.Conditional(test=test):
            return cells.reads(test)
        case tree.Return(value=value) if result and value is not None:
            return cells.reads(value)
        case tree.Arith(op=op, right=right) if op not in (tree.ArithOp.ADD, tree.ArithOp.SUB):
            return cells.reads(right)
        case tree.ForRange(start=start, stop=stop):
            return cells.reads((start, stop))
        case tree.StoreTo(ref=ref, value=value) if any(
            _part_of_word(ref.type, at or 0) for _, at in cells.places(ref)
        ):
            return cells.reads(value)
        case tree.NewStruct(values=values):
            return cells.reads(
                tuple(v for field, v in values if _part_of_word(v.type, field.offset, field.layout))
            )
        case tree.NewArray(layout=ArrayType(element=element), items=items) if _part_of_word(
            node.type, 0, element
        ):
            return cells.reads(items)
        case _:
            return set()


def _part_of_word(kind: Type, offset: int, layout: Layout | None = None) -> bool:
    """Whether an integer at ``offset`` of an object is stored in less than a whole word of the stack: of a known zero the
    verifier then notes that it was zero, and asks where it came from (``check_stack_write_fixed_off``)."""
    layout = layout or (kind.layout if isinstance(kind, Ref) else None)
    return isinstance(layout, IntType) and (layout.size < WORD or offset % WORD != 0)


def tests(part: object, cells: Cells) -> Counter[Read]:
    """How many tests in ``part`` ask for each cell and go on in two ways."""
    found: Counter[Read] = Counter()
    for test in _forks(part):
        for node in nodes(test):
            if isinstance(node, tree.Compare | tree.Truth):
                found.update(cells.reads(node))
            elif isinstance(node, tree.GetLocal) and node is test:
                found.update(cells.read_by(node))
    return found


def _forks(part: object) -> Iterator[tree.Expr]:
    """The tests behind which both ways go on."""
    for node in nodes(part):
        match node:
            case tree.If(test=test, body=body, orelse=orelse) if not (_leaves(body) or _leaves(orelse)):
                yield test
            case tree.Conditional(test=test):
                yield test
            case _:
                pass


def _leaves(body: tree.Body) -> bool:
    return bool(body) and isinstance(body[-1], _LEAVES)
