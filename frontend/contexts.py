"""The program's context: fields with the rights of the program type, packet reads and writes, packet length.

Method spellings of helpers (``ctx.adjust_head(d)``, ``ctx.redirect(ifindex, flags)``) are rows of ``_HELPERS``.
"""

from __future__ import annotations

from pyebpf import btf
from pyebpf.codes import Code
from pyebpf.declare import declaration_of
from pyebpf.diagnostics import Span
from pyebpf.frontend import conversions, tree
from pyebpf.frontend.arguments import Arguments, arguments
from pyebpf.frontend.arithmetic import constant, int_type
from pyebpf.frontend.expressions import operand
from pyebpf.frontend.helpers import call_with
from pyebpf.frontend.packets import note_view, packet_changed, refuse_stale
from pyebpf.frontend.session import Context
from pyebpf.frontend.suggest import near
from pyebpf.frontend.types import (
    NONE,
    ContextPtr,
    Handle,
    Int,
    Kernel,
    Maybe,
    Origin,
    Pointer,
    Ref,
    Type,
)
from pyebpf.frontend.values import ContextPart, Method, Operand, Static
from pyebpf.hints import Any
from pyebpf.layout import ArrayType, BytesType, IntType, Layout, StructType
from pyebpf.records import dataclass
from pyebpf.uapi.constants import ProgType
from pyebpf.uapi.contexts import LOCATIONS, TRACEPOINT, ContextField, FieldKind
from pyebpf.uapi.helpers import helper_by_name
from pyebpf.uapi.programs import PacketAccess


@dataclass(slots=True)
class Field:
    """A field of the context that is about to be read or written."""

    base: tree.Expr
    row: ContextField
    index: int
    span: Span


METHODS = ("load", "load_bytes", "read", "store", "adjust_head", "adjust_tail", "adjust_meta", "redirect")
_HELPERS = {
    "adjust_head": ("xdp_adjust_head", ("delta",)),
    "adjust_tail": ("xdp_adjust_tail", ("delta",)),
    "adjust_meta": ("xdp_adjust_meta", ("delta",)),
}


def row_of(context: Context, base: tree.Expr, name: str, span: Span) -> ContextField:
    """The row of a context field; refuses names that the context does not have."""
    assert isinstance(base.type, ContextPtr)
    of = base.type.decl.context
    row = of.field(name)
    if row is None and of is TRACEPOINT:
        raise context.refusal(
            Code.E1201,
            span,
            "the fields of this event are not known here",
            notes=["they are read from tracefs, which is root's, or from the kernel's types"],
            help="name the event in the decorator, and compile as root or with `--btf FILE`",
        )
    if row is None:
        names = [f.name for f in of.fields]
        raise context.refusal(
            Code.E0701,
            span,
            f"the context `{of.name}` has no field `{name}`",
            help=near(name, [*names, *METHODS]),
        )
    if row.since > context.session.target.kernel:
        raise context.refusal(
            Code.E0803,
            span,
            f"the field `{name}` exists since Linux {_release(row.since)}, "
            f"the target is {_release(context.session.target.kernel)}",
        )
    return row


def _release(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def attribute(context: Context, base: tree.Expr, name: str, span: Span) -> Operand:
    """``ctx.name``: a field's value, or a method about to be called."""
    assert isinstance(base.type, ContextPtr)
    if name in METHODS and base.type.decl.context.field(name) is None:
        return Method(base, name, span)
    row = row_of(context, base, name, span)
    if context.kind.prog_type is ProgType.TRACEPOINT and (
        row.kind in LOCATIONS or (row.length is not None and row.size == 1)
    ):
        return _in_event(base, row, span)
    if row.length is not None or row.kind in _PACKET:
        return ContextPart(base, row, span)
    return read_field(context, Field(base, row, 0, span), span)


_PACKET = {FieldKind.PACKET, FieldKind.PACKET_END, FieldKind.PACKET_META}


def field_of(context: Context, base: tree.Expr, name: str, span: Span) -> Field:
    """``ctx.name`` as a place."""
    row = row_of(context, base, name, span)
    if row.length is not None:
        raise context.refusal(
            Code.E0301, span, f"`{name}` is an array of {row.length}", help=f"assign an element: `{name}[0]`"
        )
    return Field(base, row, 0, span)


def element_of(context: Context, base: ContextPart, node: Any, span: Span) -> Field:
    """``ctx.cb[i]`` as a place; the index must be a constant."""
    row = base.row
    if row.length is None:
        raise context.refusal(Code.E0301, span, f"`{row.name}` has no elements")
    found = operand(context, node.slice)
    if not isinstance(found, Static) or not isinstance(found.value, int):
        raise context.refusal(
            Code.E0501,
            node.slice,
            f"the index of `{row.name}` must be a constant",
            notes=["the kernel does not allow a variable offset into the context"],
        )
    index = int(found.value)
    if not -row.length <= index < row.length:
        raise context.refusal(
            Code.E0501,
            node.slice,
            f"the index {index} is outside of `{row.name}`, which has {row.length} elements",
        )
    return Field(base.base, row, index % row.length, span)


def element(context: Context, base: ContextPart, node: Any, span: Span) -> Operand:
    """``ctx.cb[i]`` as a value."""
    return read_field(context, element_of(context, base, node, span), span)


def read_field(context: Context, found: Field, span: Span) -> tree.Expr:
    """The value of a field, if programs of this type may read it."""
    row = found.row
    if not row.readable(context.kind.prog_type):
        raise context.refusal(
            Code.E0702,
            span,
            f"programs of type {context.kind.name} may not read `{row.name}`",
            notes=[_who(row.read)],
        )
    _check_attach_type(context, row, span)
    kind: Type
    match row.kind:
        case FieldKind.SCALAR:
            kind = conversions.scalar_type(IntType(8 * row.size, row.signed))
        case FieldKind.SOCK_COMMON:
            kind = Maybe(Pointer(Handle.SOCKET))
        case FieldKind.FLOW_KEYS:
            raise context.refusal(Code.E0701, span, f"`{row.name}` is not available yet")
        case _:
            raise conversions.refuse_part(context, ContextPart(found.base, row, span))
    return tree.ContextField(context=found.base, row=row, index=found.index, type=kind, span=span)


_TEXT, _BYTES = Kernel(btf.Array(btf.CHAR, 0)), Kernel(None)
"""What is in an event at a place of its own. One type each, so that variables can hold it."""


def _in_event(base: tree.Expr, row: ContextField, span: Span) -> tree.Expr:
    """A string in an event: a copy, with zeros behind its NUL. Where the event only says the place, of as many bytes as there
    are, the address."""
    if row.length is None:
        return tree.EventData(context=base, row=row, type=_TEXT if row.text else _BYTES, span=span)
    where = tree.EventData(context=base, row=row, type=Kernel(None), span=span)
    kind = Ref(BytesType(row.length), Origin.LOCAL)
    return tree.FarCopy(address=where, string=True, type=kind, label=row.name, span=span)


def _check_attach_type(context: Context, row: ContextField, span: Span) -> None:
    if row.attach_types and context.kind.attach_type not in row.attach_types:
        names = ", ".join(sorted(a.name for a in row.attach_types))
        raise context.refusal(
            Code.E0702, span, f"`{row.name}` may be read by programs loaded for {names} only"
        )


def _who(types: frozenset[ProgType]) -> str:
    if not types:
        return "no program type may"
    return "it is allowed for " + ", ".join(sorted(t.name.lower() for t in types))


def write_field(context: Context, found: Field, new: Operand, span: Span) -> None:
    """``ctx.field = value``, if programs of this type may write it."""
    row = found.row
    if not row.writable(context.kind.prog_type):
        raise context.refusal(
            Code.E0702,
            found.span,
            f"programs of type {context.kind.name} may not write `{row.name}`",
            notes=[_who(row.write)],
        )
    layout = IntType(8 * row.size, False)
    value = conversions.stored(context, new, layout, f"the field `{row.name}`")
    context.out.append(
        tree.StoreContext(context=found.base, row=row, index=found.index, value=value, span=span)
    )


# ---------------------------------------------------------------- length


def packet_length(context: Context, base: tree.Expr, span: Span) -> tree.Expr:
    """``data_end - data``: the bytes that direct reads can reach."""
    _need_direct_access(context, "the packet's data", span)
    return tree.PacketLength(context=base, type=Int(False, 0, 0xFFFF, seen=False), span=span)


def length(context: Context, base: tree.Expr, span: Span) -> tree.Expr:
    """``len(ctx)``: of an ``__sk_buff`` the field ``len`` (the whole packet), of an ``xdp_md`` what can be reached."""
    assert isinstance(base.type, ContextPtr)
    row = base.type.decl.context.field("len")
    if row is not None:
        return read_field(context, Field(base, row, 0, span), span)
    return packet_length(context, base, span)


def difference(context: Context, left: Operand, right: Operand, span: Span) -> tree.Expr | None:
    """``ctx.data_end - ctx.data``; None where the operands are something else."""
    if not (isinstance(left, ContextPart) and isinstance(right, ContextPart)):
        return None
    if (left.row.kind, right.row.kind) != (FieldKind.PACKET_END, FieldKind.PACKET):
        return None
    return packet_length(context, left.base, span)


# ---------------------------------------------------------------- packet


def _need_direct_access(context: Context, what: str, span: Span) -> None:
    if context.kind.packet is PacketAccess.NONE:
        raise context.refusal(
            Code.E0705,
            span,
            f"programs of type {context.kind.name} have no direct access to {what}",
            help="use `load(T, offset)`, which copies",
        )


def call_method(context: Context, method: Method, call: Any) -> Operand:
    """``ctx.method(…)``."""
    base = method.receiver
    assert not isinstance(base, Static) and isinstance(base.type, ContextPtr)
    match method.name:
        case "read":
            return _read(context, base, call)
        case "load":
            return _load(context, base, call)
        case "load_bytes":
            return _load_bytes(context, base, call)
        case "store":
            return _store(context, base, call)
        case "redirect":
            return _redirect(context, base, call)
        case name if name in _HELPERS:
            helper_name, parameters = _HELPERS[name]
            helper = helper_by_name(helper_name)
            assert helper is not None
            given = arguments(context, call, parameters)
            return call_with(context, helper, [base, *given.values], context.span(call), checked=False)
        case name:
            raise context.refusal(
                Code.E0701, method.span, f"`{name}` cannot be called", help=near(name, METHODS)
            )


def _layout_argument(context: Context, given: Arguments, position: int) -> Layout:
    found = given.values[position]
    if isinstance(found, Static):
        declaration = declaration_of(found.value)
        if isinstance(declaration, IntType | StructType | BytesType | ArrayType):
            return declaration
    raise context.refusal(
        Code.E0301,
        given.spans[position],
        "a type is wanted here",
        help="name what is in the packet: `u8`, `be16`, a struct",
    )


def _offset(context: Context, given: Arguments, position: int) -> tree.Expr:
    offset = conversions.integer(context, given.values[position], "an integer as the offset")
    kind = int_type(offset)
    if kind.hi < 0 or kind.lo > 0xFFFF:
        raise context.refusal(
            Code.E0706,
            offset.span,
            "this offset is outside of every packet",
            notes=["offsets count from the start of the packet, from 0 to 65535"],
        )
    return offset


def _read(context: Context, base: tree.Expr, call: Any) -> Operand:
    """``ctx.read(T, offset)``: in place. Integers are read at once, structs are references into the packet."""
    given = arguments(context, call, ("T", "offset"))
    layout = _layout_argument(context, given, 0)
    span = context.span(call)
    _need_direct_access(context, "the packet", span)
    offset = _offset(context, given, 1)
    context.raises(tree.Exc.INDEX)
    view = tree.PacketView(context=base, offset=offset, type=Ref(layout, Origin.PACKET), span=span)
    note_view(context, view)
    return conversions.read(view, span)


def _need_skb(context: Context, base: tree.Expr, name: str, span: Span) -> None:
    assert isinstance(base.type, ContextPtr)
    helper = helper_by_name("skb_load_bytes" if name != "store" else "skb_store_bytes")
    assert helper is not None
    if base.type.decl.context.name != "__sk_buff" or helper.available(context.kind.prog_type) is None:
        raise context.refusal(
            Code.E0703,
            span,
            f"programs of type {context.kind.name} have no `{name}`",
            help="use `read(T, offset)`, which reads in place"
            if name != "store"
            else "write through `read(T, offset)`",
        )


def _load(context: Context, base: tree.Expr, call: Any) -> Operand:
    """``skb.load(T, offset)``: a copy of what is there, wherever the kernel keeps it."""
    given = arguments(context, call, ("T", "offset"))
    layout = _layout_argument(context, given, 0)
    span = context.span(call)
    _need_skb(context, base, "load", span)
    return _copy(context, base, layout, _offset(context, given, 1), span)


def _load_bytes(context: Context, base: tree.Expr, call: Any) -> Operand:
    given = arguments(context, call, ("offset", "n"))
    span = context.span(call)
    _need_skb(context, base, "load_bytes", span)
    found = given.values[1]
    if not isinstance(found, Static) or not isinstance(found.value, int) or found.value < 1:
        raise context.refusal(Code.E0506, given.spans[1], "the number of bytes must be a positive constant")
    return _copy(context, base, BytesType(int(found.value)), _offset(context, given, 0), span)


def _copy(context: Context, base: tree.Expr, layout: Layout, offset: tree.Expr, span: Span) -> tree.Expr:
    context.raises(tree.Exc.INDEX)
    copy = tree.PacketCopy(context=base, offset=offset, type=Ref(layout, Origin.LOCAL), span=span)
    return conversions.read(copy, span)


def _store(context: Context, base: tree.Expr, call: Any) -> Operand:
    """``skb.store(offset, value[, T])``: writes through the kernel, which forgets pointers into the packet."""
    given = arguments(context, call, ("offset", "value", "T", "flags"), optional=2)
    span = context.span(call)
    _need_skb(context, base, "store", span)
    offset = _offset(context, given, 0)
    layout: Layout
    if given.present(2):
        layout = _layout_argument(context, given, 2)
        value = conversions.stored(context, given.values[1], layout, "the packet")
    else:
        value = conversions.runtime(context, given.values[1])
        if not isinstance(value.type, Ref):
            raise context.refusal(
                Code.E0703,
                given.spans[1],
                "the width of this integer in the packet is not known",
                help="say its type: `store(offset, value, be16)`",
            )
        layout = value.type.layout
    flags = (
        conversions.integer(context, given.values[3], "an integer for the flags")
        if given.present(3)
        else constant(0, span)
    )
    refuse_stale(context, [value])
    context.raises(tree.Exc.INDEX)
    store = tree.PacketStore(
        context=base, offset=offset, value=value, layout=layout, flags=flags, type=NONE, span=span
    )
    packet_changed(context, span)
    return store


def _redirect(context: Context, base: tree.Expr, call: Any) -> Operand:
    """``ctx.redirect(ifindex, flags)``: ``bpf_redirect``; the result is the verdict to return."""
    del base
    given = arguments(context, call, ("ifindex", "flags"), optional=1)
    helper = helper_by_name("redirect")
    assert helper is not None
    span = context.span(call)
    flags: Operand = given.values[1] if given.present(1) else Static(0, span)
    return call_with(context, helper, [given.values[0], flags], span, checked=False)
