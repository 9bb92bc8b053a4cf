"""Maps: lookups with their three ways to treat a missing key, updates, deletion, queues, ring buffers."""

from __future__ import annotations

import errno
from collections.abc import Callable

from pyebpf.declare import MapDecl
from pyebpf.frontend import build_memory as memory
from pyebpf.frontend import tree
from pyebpf.frontend.build_exits import CleanupScope, Leave
from pyebpf.frontend.build_refs import OUTSIDE_PACKET, as_argument, layout_of
from pyebpf.frontend.build_state import Place, State
from pyebpf.hints import assert_never
from pyebpf.ir.ops import MapRef, Pred, Value
from pyebpf.ir.types import VOID, PtrTy, Space
from pyebpf.layout import IntType, Layout
from pyebpf.uapi.constants import MapUpdateFlag

RECORDS_NOT_NULL_SINCE = (6, 12)
"""The first kernel on which it is tried that the verifier knows a record that was found to be there not to be null at
a second test (``reg_not_null`` in kernel/bpf/verifier.c). Before, a number that was set at the first test has to tell."""


def map_ref(f: State, decl: MapDecl) -> MapRef:
    """The map, as helpers take it."""
    if decl.name is None:
        raise f.bug("a map without a name")
    return f.b.map_ref(decl.name)


def _key(f: State, decl: MapDecl, key: tree.Expr) -> Callable[[], Value]:
    if decl.key is None:
        raise f.bug(f"map {decl.name} has no keys")
    return as_argument(f, key, decl.key, lambda size: f.temporary("key", size))


def _value_layout(f: State, decl: MapDecl) -> Layout:
    if decl.value is None:
        raise f.bug(f"map {decl.name} has no values")
    return decl.value


def _value(f: State, decl: MapDecl, value: tree.Expr) -> Callable[[], Value]:
    return as_argument(f, value, _value_layout(f, decl), lambda size: f.temporary("value", size))


def lookup(f: State, node: tree.MapLookup) -> Value:
    """The pointer to the value of a key."""
    decl = node.map
    key = _key(f, decl, node.key)()
    type_ = PtrTy(Space.MAP_VALUE, _value_layout(f, decl).size, nullable=True)
    found = f.helper("map_lookup_elem", map_ref(f, decl), key, type=type_)
    match node.missing:
        case tree.Missing.NULL:
            return found
        case tree.Missing.RAISE:
            f.fail_if(f.b.cmp(Pred.EQ, found, f.b.null(type_)), tree.Exc.KEY)
            return f.b.nonnull(found)
        case tree.Missing.INSERT:
            return _insert_missing(f, decl, key, found, type_)
        case _:
            assert_never(node.missing)


def _insert_missing(f: State, decl: MapDecl, key: Value, found: Value, type_: PtrTy) -> Value:
    """Where ``found`` is null: insert the default unless somebody was faster, and look again."""
    missing, present, done = f.exits.cold_block("missing"), f.b.new_block("present"), f.b.new_block("found")
    f.b.branch(f.b.cmp(Pred.EQ, found, f.b.null(type_)), missing, present, unlikely=True)
    f.go(missing)
    layout = _value_layout(f, decl)
    initial = f.temporary("value", layout.size)
    if isinstance(layout, IntType) and decl.default:
        memory.store_int(f, initial, layout, f.b.const(decl.default))
    elif not decl.default:
        memory.zero(f, initial, layout.size)
    else:
        raise f.bug(f"the default {decl.default} for {layout.name}")
    flag = f.b.const(int(MapUpdateFlag.NOEXIST))
    result = f.helper("map_update_elem", map_ref(f, decl), key, initial.pointer, flag)
    again = f.helper("map_lookup_elem", map_ref(f, decl), key, type=type_)
    f.fail_with_errno_if(f.b.cmp(Pred.EQ, again, f.b.null(type_)), lambda: f.negated(result))
    inserted, inserted_at = f.b.nonnull(again), f.b.block
    f.exits.cold.add(inserted_at)
    f.b.jump(done)
    f.go(present)
    held = f.b.nonnull(found)
    f.b.jump(done)
    f.go(done)
    return f.b.phi(held.type, {present: held, inserted_at: inserted})


def raise_os_if_negative(f: State, result: Value) -> Value:
    """Raise OS where a helper's ``result`` is negative."""
    f.fail_with_errno_if(f.b.cmp(Pred.SLT, result, f.b.const(0)), lambda: f.negated(result))
    return result


def update(f: State, node: tree.MapUpdate) -> Value:
    """Store a value under a key."""
    if node.in_place:
        return _store_element(f, node)
    key = _key(f, node.map, node.key)
    value = _value(f, node.map, node.value)
    flags = f.value(node.flags)
    result = f.helper("map_update_elem", map_ref(f, node.map), key(), value(), flags)
    return raise_os_if_negative(f, result) if node.checked else result


def _store_element(f: State, node: tree.MapUpdate) -> Value:
    """An integer of an array is stored through its address: the verifier turns the lookup into a few instructions, while
    an update is a call. An index outside is E2BIG, as it is for the helper (kernel/bpf/arraymap.c)."""
    layout = _value_layout(f, node.map)
    assert isinstance(layout, IntType)
    key = _key(f, node.map, node.key)
    value = f.value(node.value)
    type_ = PtrTy(Space.MAP_VALUE, layout.size, nullable=True)
    found = f.helper("map_lookup_elem", map_ref(f, node.map), key(), type=type_)
    f.fail_with_errno_if(f.b.cmp(Pred.EQ, found, f.b.null(type_)), lambda: f.b.const(errno.E2BIG))
    memory.store_int(f, Place(f.b.nonnull(found), 0, 8), layout, value)
    return f.b.const(0)


def delete(f: State, node: tree.MapDelete) -> Value:
    """Remove a key."""
    key = _key(f, node.map, node.key)()
    result = f.helper("map_delete_elem", map_ref(f, node.map), key)
    if node.checked:
        f.fail_if(f.b.cmp(Pred.SLT, result, f.b.const(0)), tree.Exc.KEY)
    return result


def push(f: State, node: tree.MapPush) -> Value:
    """Append to a queue or stack."""
    value = _value(f, node.map, node.value)
    flags = f.value(node.flags)
    result = f.helper("map_push_elem", map_ref(f, node.map), value(), flags)
    return raise_os_if_negative(f, result) if node.checked else result


def pop(f: State, node: tree.MapPop) -> Place:
    """The next value of a queue or stack, in the node's slot."""
    name = "map_peek_elem" if node.peek else "map_pop_elem"
    place = f.object(node, "object", node.type.layout.size, node.map.name or "")
    result = f.helper(name, map_ref(f, node.map), place.pointer)
    f.fail_if(f.b.cmp(Pred.SLT, result, f.b.const(0)), tree.Exc.INDEX)
    return place


def ring_output(f: State, node: tree.RingOutput) -> Value:
    """Copy a value into a ring buffer."""
    layout = layout_of(node.value, f)
    data = as_argument(f, node.value, layout, lambda size: f.temporary("record", size), OUTSIDE_PACKET)
    flags = f.value(node.flags)
    result = f.helper("ringbuf_output", map_ref(f, node.map), data(), f.b.const(layout.size), flags)
    return raise_os_if_negative(f, result) if node.checked else result


def reserve(f: State, node: tree.Reserve) -> None:
    """A ring buffer record for the time of a body: submitted on every way out but an exception."""
    size = node.layout.size
    type_ = PtrTy(Space.RINGBUF, size, nullable=True)
    zero_flags = f.b.const(0)
    record = f.helper("ringbuf_reserve", map_ref(f, node.map), f.b.const(size), zero_flags, type=type_)
    record.name = node.local.name
    reserved, start = f.b.new_block("reserved"), f.b.new_block("with")
    noted = f.target.kernel < RECORDS_NOT_NULL_SINCE
    there = f.slot(node, "reserved", 8, "reserved") if noted else None
    if there is not None:
        f.b.store(there.pointer, 0, 8, f.b.const(0))
    f.b.branch(f.b.cmp(Pred.EQ, record, f.b.null(type_)), start, reserved)
    f.go(reserved)
    if there is not None:
        f.b.store(there.pointer, 0, 8, f.b.const(1))
    memory.zero(f, Place(f.b.nonnull(record), 0, 8), size)
    f.jump_to(start)
    f.store_local(node.local, record)

    def finish(helper: str) -> None:
        ending, ended = f.b.new_block(helper.removeprefix("ringbuf_")), f.b.new_block("ended")
        if there is not None:
            missing = f.b.cmp(Pred.EQ, f.b.load(there.pointer, 0, 8), f.b.const(0))
        else:
            missing = f.b.cmp(Pred.EQ, record, f.b.null(type_))
        f.b.branch(missing, ended, ending)
        f.go(ending)
        f.helper(helper, f.b.nonnull(record), f.b.const(0), type=VOID)
        f.jump_to(ended)

    scope = CleanupScope()
    f.exits.scopes.append(scope)
    f.run(node.body)
    f.exits.scopes.pop()
    after = f.b.new_block("with_end")
    if not f.b.terminated:
        finish("ringbuf_submit")
        f.b.jump(after)
    for exit_, landing in scope.landings.items():
        f.go(landing)
        finish("ringbuf_submit" if isinstance(exit_, Leave) else "ringbuf_discard")
        f.b.jump(f.exits.route(exit_))
    f.go(after)
