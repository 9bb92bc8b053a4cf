"""What a callback counts is hidden from the verifier, which would otherwise go through all iterations.

The verifier goes through a callback until nothing changes any more, and takes every sum of a known number for a state
of its own as soon as a test depends on it (``widen_imprecise_scalars`` in kernel/bpf/verifier.c). What an atomic
operation has written to the stack is any number for it, so one that changes nothing makes it forget the start; the
first iteration then leads to the state before it.

That is enough for what is only added to. What the body looks at as well may become known again in any iteration: it
is set to a constant, or a test finds it to be one (``if n == 100``), and counts on from there. It is forgotten at the
begin of every iteration.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyebpf.frontend import tree
from pyebpf.frontend.build_frame import Calling, RecordLayout, assigned_locals, reachable
from pyebpf.frontend.build_state import Place, State
from pyebpf.frontend.tree_nodes import nodes
from pyebpf.frontend.types import Int, Origin, Ref
from pyebpf.ir.ops import AtomicOp, Value
from pyebpf.layout import ArrayType

WORD = 8
"""The verifier follows what is stored at the begin of 8 bytes of stack, and all that is stored in 4 or 8 bytes."""

Parts = dict[tree.Local, set[tuple[int, int]]]
"""Offset and size of the integers that are stored through a reference variable."""


def forget_variables(f: State, body: tree.Function, layout: RecordLayout, record: Place) -> None:
    """Hide what the captured variables in ``record`` are at the start that ``body`` reads and assigns; those of a loop
    around it are hidden there, those that the body looks at in the body."""
    counters = (assigned_locals(body) & set(_read(body))) - _looked_at(body)
    if f.frame.calling is Calling.LOOP_BODY:
        counters -= set(f.source.captures)
    for local, offset in layout.captures:
        if local in counters:
            f.b.atomic(AtomicOp.OR, record.pointer, offset, WORD, f.b.const(0))


def forget_objects(f: State, body: tree.Function, param: tree.Local | None, state: Value | None) -> None:
    """Hide what the integers are at the start that ``body`` stores into objects that it captured, and into the one at
    ``state``, which it gets as ``param``."""
    if _reads_objects(body):
        return  # in the body
    parts = _stored(reachable([body]))
    outside = set(f.source.captures) if f.frame.calling is Calling.LOOP_BODY else set()
    for local in body.captures:
        if local in parts and local not in outside and _on_stack(local):
            _forget(f, f.load_local(local, local.type), local, parts[local])
    if param in parts and param is not None and state is not None and _on_stack(param):
        _forget(f, state, param, parts[param])


def forget_each_time(f: State, layout: RecordLayout | None, param: tree.Local | None) -> None:
    """At the begin of a callback: hide the captured variables and the parts of objects that it both changes and looks
    at. ``param``: the state that the callback is given."""
    body = f.source
    if layout is not None and f.record is not None:
        counters = assigned_locals(body) & _looked_at(body)
        for local, offset in layout.captures:
            if local in counters:
                f.b.atomic(AtomicOp.OR, f.record, offset, WORD, f.b.const(0))
    if not _reads_objects(body):
        return
    parts = _stored(reachable([body]))
    for local in (*body.captures, *([param] if param is not None else [])):
        if local in parts and _on_stack(local):
            _forget(f, f.load_local(local, local.type), local, parts[local])


def _forget(f: State, pointer: Value, local: tree.Local, parts: set[tuple[int, int]]) -> None:
    assert isinstance(local.type, Ref)
    for offset, width in _words(parts, f.facts.alignments.get(local, 1), local.type.layout.size):
        f.b.atomic(AtomicOp.OR, pointer, offset, width, f.b.const(0))


def _on_stack(local: tree.Local) -> bool:
    return isinstance(local.type, Ref) and local.type.origin in (Origin.LOCAL, Origin.CALLER)


def _read(function: tree.Function) -> Iterator[tree.Local]:
    """The integer variables that a function and those that it calls read."""
    for one in reachable([function]):
        for node in nodes(one.body):
            if isinstance(node, tree.GetLocal) and isinstance(node.local.type, Int):
                yield node.local


def _looked_at(function: tree.Function) -> set[tree.Local]:
    """The integer variables whose value goes anywhere but into their own next one: into a test, say."""
    found: set[tree.Local] = set()
    for one in reachable([function]):
        own = {id(left) for node in nodes(one.body) if (left := _updated(node)) is not None}
        for node in nodes(one.body):
            if isinstance(node, tree.GetLocal) and isinstance(node.local.type, Int) and id(node) not in own:
                found.add(node.local)
    return found


def _updated(node: tree.Node) -> tree.GetLocal | None:
    """The variable as it is read in ``x = x op …``."""
    if not isinstance(node, tree.SetLocal):
        return None
    value = node.value
    while isinstance(value, tree.Wrap | tree.Reinterpret):
        value = value.operand
    if not isinstance(value, tree.Arith):
        return None
    left = value.left
    while isinstance(left, tree.Wrap | tree.Reinterpret):
        left = left.operand
    return left if isinstance(left, tree.GetLocal) and left.local is node.local else None


def _reads_objects(function: tree.Function) -> bool:
    """Whether a part of an object on the stack is read, other than to be updated."""
    origins = (Origin.LOCAL, Origin.CALLER)
    return any(
        isinstance(node, tree.Read) and isinstance(node.ref.type, Ref) and node.ref.type.origin in origins
        for one in reachable([function])
        for node in nodes(one.body)
    )


def _words(parts: set[tuple[int, int]], align: int, size: int) -> list[tuple[int, int]]:
    """Offset and width of the operations that hide ``parts`` of an object of ``size`` bytes."""
    found: dict[int, int] = {}
    for offset, width in sorted(parts):
        if width < 4 and offset % WORD:
            continue  # it is not followed
        if align == WORD and width == WORD and offset % WORD == 0:
            found[offset] = WORD
        elif align >= 4 and offset % 4 == 0:
            for at in range(offset, min(offset + max(width, 4), size - 3), 4):
                found.setdefault(at, 4)
    return sorted(found.items())


def _stored(functions: list[tree.Function]) -> Parts:
    """What ``functions`` store where it is known at compile time, by the variable through which they do."""
    parts: Parts = {}
    aliases: list[tuple[tree.Local, tree.Expr]] = []
    for function in functions:
        for node in nodes(function.body):
            match node:
                case tree.StoreTo(ref=ref) | tree.UpdateTo(ref=ref):
                    if (found := _fixed(ref)) is not None and isinstance(ref.type, Ref):
                        parts.setdefault(found[0], set()).add((found[1], ref.type.layout.size))
                case tree.SetLocal(local=local, value=value) | tree.Bind(local=local, value=value):
                    aliases.append((local, value))
                case tree.FunctionCall(function=callee, args=args):
                    aliases += zip(callee.params, args, strict=True)
                case tree.LoopCall(body=body, state=state) if state is not None:
                    aliases.append((body.params[1], state))
                case _:
                    pass
    changed = True
    while changed:
        changed = False
        for local, value in aliases:
            found = _fixed(value) if local in parts else None
            if found is not None:
                inside = {(found[1] + offset, size) for offset, size in parts[local]}
                known = parts.setdefault(found[0], set())
                changed = changed or not inside <= known
                known |= inside
    return parts


def _fixed(expr: tree.Expr) -> tuple[tree.Local, int] | None:
    """The reference variable and the offset of what ``expr`` refers to."""
    match expr:
        case tree.GetLocal(local=local) if isinstance(local.type, Ref):
            return local, 0
        case tree.Bind(value=value):
            return _fixed(value)
        case tree.FieldOf(base=base, field=field):
            return _moved(base, field.offset)
        case tree.ElementOf(base=base, index=tree.IntConst(value=index)) if isinstance(base.type, Ref):
            layout = base.type.layout
            if isinstance(layout, ArrayType):
                return _moved(base, index % layout.length * layout.element.size)
            return None
        case tree.SliceOf(base=base, start=start) if isinstance(base.type, Ref):
            layout = base.type.layout
            size = layout.element.size if isinstance(layout, ArrayType) else 1
            return _moved(base, start * size)
        case _:
            return None


def _moved(base: tree.Expr, offset: int) -> tuple[tree.Local, int] | None:
    found = _fixed(base)
    return None if found is None else (found[0], found[1] + offset)
