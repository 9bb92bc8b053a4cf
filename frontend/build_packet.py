"""Contexts and packets: fields, views into the packet with their bounds checks, copies through helpers.

The verifier grants access to ``p[0 … n)`` after a comparison of ``p + n`` with the packet's end, for every
pointer that has the same variable part as ``p``, as long as no offset can pass 65,535 (``MAX_PACKET_OFF``).
"""

from __future__ import annotations

from pyebpf.frontend import tree
from pyebpf.frontend.build_refs import OUTSIDE_PACKET, as_argument
from pyebpf.frontend.build_state import Number, Place, State
from pyebpf.frontend.types import Bool, ContextPtr, Int
from pyebpf.ir.ops import BinOp, Pred, Value
from pyebpf.ir.types import I64, IRType, PtrTy, Space
from pyebpf.uapi.contexts import LOCATIONS, ContextField, FieldKind

MAX_PACKET_OFFSET = 0xFFFF

_PACKET = PtrTy(Space.PACKET)
_PACKET_META = PtrTy(Space.PACKET_META)
_PACKET_END = PtrTy(Space.PACKET_END)


def _row(f: State, context: tree.Expr, name: str) -> ContextField:
    if not isinstance(context.type, ContextPtr):
        raise f.bug(f"{context.type} is no context", context.span)
    row = context.type.decl.context.field(name)
    if row is None:
        raise f.bug(f"{context.type} has no field {name}", context.span)
    return row


def _bound(f: State, context: tree.Expr, pointer: Value, name: str, type_: IRType) -> Value:
    """A field such as ``data`` that the verifier turns into a pointer."""
    row = _row(f, context, name)
    return f.b.load(pointer, row.offset, row.size, type=type_, name=name)


def _field_offset(f: State, row: ContextField, index: int) -> int:
    if not 0 <= index < (row.length or 1):
        raise f.bug(f"index {index} of context field {row.name}")
    return row.offset + index * row.size


def context_field(f: State, node: tree.ContextField) -> Value:
    """A field of the context."""
    context = f.value(node.context)
    offset = _field_offset(f, node.row, node.index)
    if isinstance(node.type, Int | Bool):
        if node.row.size not in node.row.read_widths:
            raise f.bug(f"context field {node.row.name} may not be read as a whole")
        signed = node.row.signed and node.row.size < 8
        held = f.b.load(context, offset, node.row.size, signed=signed, name=node.row.name)
        return f.narrow(held, node.type)
    return f.b.load(context, offset, node.row.size, type=f.type_of(node.type), name=node.row.name)


def event_data(f: State, node: tree.EventData) -> Value:
    """The address of data in an event."""
    context, row = f.value(node.context), node.row
    if row.kind not in LOCATIONS:
        return f.b.address_in(context, row.offset)
    location = f.b.load(context, row.offset, 4, name=row.name)
    offset = f.b.binary(BinOp.AND, location, f.b.const(0xFFFF))
    base = row.offset + 4 if row.kind is FieldKind.RELATIVE_LOCATION else 0
    return f.b.binary(BinOp.ADD, f.b.address_in(context, base), offset)


def store_context(f: State, node: tree.StoreContext) -> None:
    """Writes a field of the context."""
    context = f.value(node.context)
    value = f.widen(f.value(node.value))
    if node.row.size not in node.row.write_widths:
        raise f.bug(f"context field {node.row.name} may not be written as a whole")
    f.b.store(context, _field_offset(f, node.row, node.index), node.row.size, value)


def packet_length(f: State, node: tree.PacketLength) -> Value:
    """``data_end - data``. The loads are of integers here: the difference of two packet pointers is a
    number."""
    context = f.value(node.context)
    end = _bound(f, node.context, context, "data_end", I64)
    start = _bound(f, node.context, context, "data", I64)
    return f.b.binary(BinOp.SUB, end, start)


def packet_view(f: State, node: tree.PacketView) -> Place:
    """A checked pointer into the packet. The pointer that was compared is the pointer that is used."""
    context = f.value(node.context)
    size = node.type.layout.size
    align = node.type.layout.align
    variable, added = _split_offset(node.offset, size)
    offset = f.number(variable)
    constant = offset.constant
    if constant is not None and not 0 <= constant <= MAX_PACKET_OFFSET - size:
        f.raise_now(tree.Exc.INDEX)
        return Place(f.b.undef(_PACKET), 0, align)
    if constant is None:
        _limit(f, offset, MAX_PACKET_OFFSET - size)
    if node.meta:
        base = _bound(f, node.context, context, "data_meta", _PACKET_META)
        end = _bound(f, node.context, context, "data", _PACKET)
    else:
        base = _bound(f, node.context, context, "data", _PACKET)
        end = _bound(f, node.context, context, "data_end", _PACKET_END)
    if constant is None:
        base, constant = f.b.ptradd(base, offset.value), added
    beyond = f.b.ptradd(base, constant + size)
    f.fail_if(f.b.cmp(Pred.UGT, beyond, end), tree.Exc.INDEX)
    return Place(base, constant, align)


def _split_offset(offset: tree.Expr, size: int) -> tuple[tree.Expr, int]:
    """``x + 14`` as x and 14, where the verifier knows that both are in the packet's reach: it needs no addition then."""
    match offset:
        case tree.Arith(op=tree.ArithOp.ADD, left=variable, right=tree.IntConst(value=added)):
            pass
        case tree.Arith(op=tree.ArithOp.ADD, left=tree.IntConst(value=added), right=variable):
            pass
        case _:
            return offset, 0
    known = variable.type
    if not (isinstance(known, Int) and known.seen and known.exact and known.lo >= 0 and added >= 0):
        return offset, 0
    return (variable, added) if known.hi + added <= MAX_PACKET_OFFSET - size else (offset, 0)


def _limit(f: State, offset: Number, limit: int) -> None:
    """Raise INDEX unless 0 <= ``offset`` <= ``limit``."""
    if not offset.seen_in(0, limit):
        f.fail_if(f.b.cmp(Pred.UGT, offset.value, f.b.const(limit)), tree.Exc.INDEX)


def _copied_offset(f: State, offset: Number) -> Value:
    """An offset as the copying helpers take it: a u32, of which they refuse by themselves what is above INT_MAX.

    What 32 bits do not hold raises INDEX here. Written as a comparison of two registers: one with a constant, which
    the verifier can often decide, would make it track the offset exactly and follow every iteration of a loop anew.
    """
    constant = offset.constant
    if constant is None and offset.type.exact and offset.type.lo >= -(1 << 31) and offset.type.hi < 1 << 32:
        return offset.value
    if constant is not None and 0 <= constant < 1 << 31:
        return offset.value
    low = f.b.zext(32, offset.value)
    f.fail_if(f.b.cmp(Pred.NE, low, offset.value), tree.Exc.INDEX)
    return low


def packet_copy(f: State, node: tree.PacketCopy) -> Place:
    """Bytes of the packet in the node's slot."""
    size = node.type.layout.size
    return load_packet(f, node, f.object(node, "object", size, node.label or "packet"), size)


def load_packet(f: State, node: tree.PacketCopy, place: Place, size: int) -> Place:
    """The first ``size`` of the bytes that ``node`` copies, at ``place`` on the stack."""
    context = f.value(node.context)
    offset = f.number(node.offset)
    where = _copied_offset(f, offset)
    result = f.helper("skb_load_bytes", context, where, f.pointer(place), f.b.const(size))
    f.fail_if(f.b.cmp(Pred.SLT, result, f.b.const(0)), tree.Exc.INDEX)
    return place


def packet_store(f: State, node: tree.PacketStore) -> None:
    """Bytes into the packet."""
    context = f.value(node.context)
    offset = f.number(node.offset)
    value = as_argument(f, node.value, node.layout, lambda size: f.temporary("packet", size), OUTSIDE_PACKET)
    flags = f.value(node.flags)
    where = _copied_offset(f, offset)
    size = f.b.const(node.layout.size)
    result = f.helper("skb_store_bytes", context, where, value(), size, flags)
    f.fail_if(f.b.cmp(Pred.SLT, result, f.b.const(0)), tree.Exc.INDEX)
