"""Statements: assignments, branches, loops, exceptions and their handlers."""

from __future__ import annotations

from pyebpf.frontend import (
    build_calls,
    build_loops,
    build_maps,
    build_memory,
    build_objects,
    build_packet,
    build_refs,
    build_try,
    tree,
)
from pyebpf.frontend.build_arith import arith
from pyebpf.frontend.build_data import foreign
from pyebpf.frontend.build_exits import Leave
from pyebpf.frontend.build_state import Number, State
from pyebpf.frontend.types import Int
from pyebpf.hints import assert_never
from pyebpf.ir.ops import AtomicOp, Value
from pyebpf.layout import IntType

_ATOMIC = {
    tree.ArithOp.ADD: AtomicOp.ADD,
    tree.ArithOp.SUB: AtomicOp.ADD,
    tree.ArithOp.AND: AtomicOp.AND,
    tree.ArithOp.OR: AtomicOp.OR,
    tree.ArithOp.XOR: AtomicOp.XOR,
}


def body(f: State, statements: tree.Body) -> None:
    """Lower statements in order; what stands behind a way out is never reached."""
    for statement in statements:
        if f.b.terminated:
            return
        with f.at(statement.span):
            _statement(f, statement)


def _statement(f: State, node: tree.Stmt) -> None:
    match node:
        case tree.SetLocal():
            f.store_local(node.local, f.value(node.value))
        case tree.StoreTo():
            _store_to(f, node)
        case tree.UpdateTo():
            _update_to(f, node)
        case tree.CopyInto():
            build_objects.copy_into(f, node)
        case tree.StoreContext():
            build_packet.store_context(f, node)
        case tree.Evaluate():
            f.operand(node.value)
        case tree.If():
            _if(f, node)
        case tree.While():
            build_loops.while_(f, node)
        case tree.ForRange():
            build_loops.for_range(f, node)
        case tree.ForConstants():
            build_loops.for_constants(f, node)
        case tree.Break():
            f.b.jump(f.exits.route(Leave.BREAK))
        case tree.Continue():
            f.b.jump(f.exits.route(Leave.CONTINUE))
        case tree.Return():
            build_calls.leave(f, node.value)
        case tree.TailCall():
            build_calls.tail_call(f, node)
        case tree.Raise():
            build_try.raise_(f, node)
        case tree.Reraise():
            build_try.reraise(f)
        case tree.Try():
            build_try.try_(f, node)
        case tree.Reserve():
            build_maps.reserve(f, node)
        case _:
            assert_never(node)


def _scalar(f: State, ref: tree.Expr) -> IntType:
    layout = build_refs.layout_of(ref, f)
    if not isinstance(layout, IntType):
        raise f.bug(f"an integer is stored to {layout.name}", ref.span)
    return layout


def _store_to(f: State, node: tree.StoreTo) -> None:
    layout = _scalar(f, node.ref)
    place = f.place(node.ref)
    value = f.widen(f.value(node.value))
    build_memory.store_int(f, place, layout, value)


def _update_to(f: State, node: tree.UpdateTo) -> None:
    layout = _scalar(f, node.ref)
    place = f.place(node.ref)
    if node.atomic:
        if (
            foreign(layout, f.target)
            or layout.size < 4
            or place.align < layout.size
            or node.op not in _ATOMIC
        ):
            raise f.bug(f"atomic {node.op.value}= on {layout.name}")
        value: Value = f.value(node.value)
        if node.op is tree.ArithOp.SUB:
            value = f.b.neg(value)
        f.b.atomic(_ATOMIC[node.op], place.pointer, place.offset, layout.size, value)
        return
    old = build_memory.load_int(f, place, layout)
    held = Int(layout.bits == 64 and not layout.signed, layout.lo, layout.hi)
    operand = f.number(node.value)
    new = arith(f, node.op, Number(old, held), operand, may_be_zero=node.may_be_zero)
    build_memory.store_int(f, place, layout, new)


def _if(f: State, node: tree.If) -> None:
    then, done = f.b.new_block("then"), f.b.new_block("endif")
    otherwise = f.b.new_block("else") if node.orelse else done
    for block, arm in ((then, node.body), (otherwise, node.orelse)):
        if len(arm) == 1 and isinstance(arm[0], tree.Raise | tree.Reraise):
            f.exits.cold.add(block)
    f.branch(node.test, then, otherwise)
    f.go(then)
    f.run(node.body)
    if node.orelse:
        if not f.b.terminated:
            f.b.jump(done)
        f.go(otherwise)
        f.run(node.orelse)
    f.jump_to(done)
