"""Which functions may keep their objects in scratch memory.

The kernel gives a program and all functions that it calls 512 bytes of stack together. The rule, on the tree as it was
written: the objects of a function are added up (of the arms of an ``if`` the larger one; of objects without a name those of
the statement with most of them), and so are those of the deepest chain of calls below it, with 32 bytes for each call. Where
that passes ``STACK_FOR_OBJECTS`` the function may use scratch memory, and so may raise ``MemoryError`` when it is called. It
uses it only if its frame turns out not to fit.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyebpf.codes import Code
from pyebpf.frontend import tree
from pyebpf.frontend.session import Context
from pyebpf.frontend.tree_nodes import nodes
from pyebpf.frontend.types import Origin, Ref
from pyebpf.layout import round_up
from pyebpf.records import dataclass, fields

STACK_FOR_OBJECTS = 384
"""Of the 512 bytes, what objects may take; the rest is for numbers that do not find a register."""
CALL_BYTES = 32
"""What the kernel counts at least for each function that is not inlined."""
SMALL = 64
"""Objects up to so many bytes stay on the stack while they have room there ..."""
SMALL_TOGETHER = 192
"""... which is so many bytes for all of them."""

OBJECTS_LIMIT = 30_000
"""Scratch memory is a value of a per-CPU map, of which one has at most 32 KiB (``PCPU_MIN_UNIT_SIZE``); the rest is for
what calls need for a moment."""


def decide_scratch(context: Context, function: tree.Function) -> None:
    """Set whether ``function``, whose body is complete, may use scratch memory. Refuses what it cannot do there."""
    function.scratch = may_use_scratch(function)
    if not function.scratch:
        return
    context.errors[0].raised.add(tree.Exc.MEMORY)
    objects = [node for node in nodes(function.body) if _size(node)]
    total = sum(_size(node) for node in objects)
    if total > OBJECTS_LIMIT:
        context.report(
            context.diagnostic(
                Code.E1001,
                max(objects, key=_size).span,
                f"the objects of `{function.name}` take {total} bytes together, {OBJECTS_LIMIT} are possible",
                label="the largest one",
                notes=["what does not fit on the stack of 512 bytes lies in a value of a per-CPU map"],
                help="keep large objects in a map of your own",
            )
        )
    for call in _caught_tail_calls(function.body, caught=False):
        context.report(
            context.diagnostic(
                Code.E0907,
                call.span,
                "a tail call whose `KeyError` is caught is not possible here",
                notes=[
                    "the objects of this program do not fit on the stack, and their memory is given back before the call"
                ],
                help="catch it nowhere, or make the objects in a function that the program calls",
            )
        )


def _caught_tail_calls(item: object, *, caught: bool) -> Iterator[tree.TailCall]:
    match item:
        case tuple():
            for part in item:
                yield from _caught_tail_calls(part, caught=caught)
        case tree.TailCall():
            if caught:
                yield item
        case tree.Try(body=body, handlers=handlers):
            here = any(tree.Exc.KEY.is_a(one) for handler in handlers for one in handler.catches)
            yield from _caught_tail_calls(body, caught=caught or here)
            yield from _caught_tail_calls((handlers, item.orelse, item.final), caught=caught)
        case tree.Node() if not isinstance(item, tree.Function):
            for part in fields(item):
                yield from _caught_tail_calls(getattr(item, part.name), caught=caught)
        case _:
            return


def may_use_scratch(function: tree.Function) -> bool:
    """Whether the rule gives ``function`` scratch memory. Those of the functions that it calls is decided already."""
    if function.kind is tree.FunctionKind.GLOBAL or any(_shows_its_stack(n) for n in nodes(function.body)):
        return False
    own = _own_bytes(function)
    return own > SMALL and own + max(_chains_below(function), default=0) > STACK_FOR_OBJECTS


def _shows_its_stack(node: tree.Node) -> bool:
    """Whether the kernel takes the function's objects on the stack only: the state of ``for_each``."""
    if not isinstance(node, tree.HelperCall):
        return False
    takes_function = any(isinstance(arg, tree.FunctionHandle) for arg in node.args)
    return takes_function and any(_on_stack(arg) for arg in node.args)


def _on_stack(expr: tree.Expr) -> bool:
    return isinstance(expr.type, Ref) and expr.type.origin in (Origin.LOCAL, Origin.CALLER, Origin.MIXED)


def _chain(function: tree.Function) -> int:
    """The bytes of objects on the deepest chain of calls that begins with ``function``."""
    own = SMALL_TOGETHER if function.scratch else _own_bytes(function)
    return own + max(_chains_below(function), default=0)


def _chains_below(function: tree.Function) -> Iterator[int]:
    for node in nodes(function.body):
        if isinstance(node, tree.Function) and node.kind is not tree.FunctionKind.ENTRY:
            yield CALL_BYTES + _chain(node)


# ---------------------------------------------------------------- objects


@dataclass(frozen=True, slots=True)
class _Need:
    """Bytes of objects that have names, and the most that one statement needs for others."""

    named: int = 0
    passing: int = 0

    def __add__(self, other: _Need) -> _Need:
        return _Need(self.named + other.named, max(self.passing, other.passing))

    def __or__(self, other: _Need) -> _Need:
        return _Need(max(self.named, other.named), max(self.passing, other.passing))


def _own_bytes(function: tree.Function) -> int:
    need = _of_body(function.body)
    return need.named + need.passing


def _of_body(body: tree.Body) -> _Need:
    found = _Need()
    for statement in body:
        found += _of_statement(statement)
    return found


def _of_statement(statement: tree.Stmt) -> _Need:
    match statement:
        case tree.SetLocal(value=value):
            return _Need(_size(value), sum(_passing(part) for part in _parts(value)))
        case tree.If(test=test, body=body, orelse=orelse):
            return _Need(0, _passing(test)) + (_of_body(body) | _of_body(orelse))
    found = _Need()
    for part in fields(statement):
        value = getattr(statement, part.name)
        if isinstance(value, tuple) and value and isinstance(value[0], tree.Handler):
            for handler in value:
                found += _of_body(handler.body)
        elif isinstance(value, tuple) and all(isinstance(item, tree.Stmt) for item in value):
            found += _of_body(value)
        else:
            found += _Need(0, _passing(value))
    return found


def _size(expr: object) -> int:
    """The bytes of the object that ``expr`` makes, if it makes one."""
    match expr:
        case tree.NewStruct() | tree.NewArray() | tree.CopyOf() | tree.MapPop() | tree.PacketCopy():
            assert isinstance(expr.type, Ref)
            return round_up(expr.type.layout.size, 8)
        case tree.FunctionCall(type=Ref(origin=Origin.LOCAL, layout=layout)):
            return round_up(layout.size, 8)
        case _:
            return 0


def _passing(item: object) -> int:
    """The bytes of all objects that are made in an expression."""
    if isinstance(item, tuple):
        return sum(_passing(part) for part in item)
    if not isinstance(item, tree.Node) or isinstance(item, tree.Function):
        return 0
    return _size(item) + sum(_passing(part) for part in _parts(item))


def _parts(expr: tree.Node) -> Iterator[object]:
    """The parts of an expression that may make objects of their own: those of a new object are made in it."""
    match expr:
        case tree.NewStruct(values=values):
            items: tuple[object, ...] = tuple(value for _, value in values)
        case tree.NewArray(items=given):
            items = given
        case _:
            yield from (getattr(expr, part.name) for part in fields(expr))
            return
    for item in items:
        if isinstance(item, tree.NewStruct | tree.NewArray | tree.PacketCopy):
            yield from _parts(item)
        else:
            yield item
