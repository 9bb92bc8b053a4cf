"""What a helper's arguments must be, by the verifier's kinds: contexts, maps, memory with its size, sockets, …."""

from __future__ import annotations

from collections.abc import Sequence

from pyebpf import btf
from pyebpf.codes import Code
from pyebpf.declare import MapDecl, declaration_of
from pyebpf.diagnostics import Span
from pyebpf.frontend import conversions, tree
from pyebpf.frontend.arithmetic import int_type, interval
from pyebpf.frontend.session import Context, Refused
from pyebpf.frontend.types import (
    U64,
    Bool,
    ContextPtr,
    Handle,
    Int,
    Kernel,
    Maybe,
    Origin,
    Pointer,
    Ref,
    Trust,
    User,
)
from pyebpf.frontend.values import Operand, Static, describe
from pyebpf.layout import ArrayType, IntType, Layout
from pyebpf.uapi.helpers import SIZES, WRITTEN, ArgKind, Helper, HelperArg, Prototype

_SOCKETS = frozenset({ArgKind.SOCKET, ArgKind.SOCK_COMMON, ArgKind.BTF_ID_SOCK_COMMON})
_NOT_YET = {
    ArgKind.FUNC: "a callback; loops are written `bpf.loop(n, body, state)`",
    ArgKind.PERCPU_BTF_ID: "a kernel variable",
    ArgKind.SPIN_LOCK: "a spin lock",
    ArgKind.TIMER: "a timer",
    ArgKind.DYNPTR: "a dynptr",
    ArgKind.UNINIT_DYNPTR: "a dynptr",
    ArgKind.KPTR: "a kernel pointer in a map",
    ArgKind.RINGBUF_MEM: "a record; they are written `with ring.reserve(T) as record:`",
}


def convert(
    context: Context,
    helper: Helper,
    prototype: Prototype,
    values: Sequence[Operand],
    places: Sequence[Span],
    span: Span,
) -> list[tree.Expr]:
    """The arguments as tree nodes, each checked against what the helper demands."""
    if len(values) < len(prototype.args):
        raise context.refusal(
            Code.E0805,
            span,
            f"`{helper.name}` takes {len(prototype.args)} arguments, {len(values)} are given",
        )
    owner = next((d for d in map(_map_of, values) if d is not None), None)
    args: list[tree.Expr] = []
    for n, (argument, value, place) in enumerate(zip(prototype.args, values, places, strict=False)):
        size = values[n + 1] if n + 1 < len(prototype.args) and prototype.args[n + 1].kind in SIZES else None
        expr = _one(context, helper, prototype, argument, value, place, owner, size is not None)
        if argument.kind in SIZES and n > 0:
            _check_size(context, argument, args[n - 1], expr, place)
        args.append(expr)
    args.extend(conversions.integer(context, value) for value in values[len(prototype.args) :])
    return args


def _map_of(value: Operand) -> MapDecl | None:
    declaration = declaration_of(value.value) if isinstance(value, Static) else None
    return declaration if isinstance(declaration, MapDecl) else None


def _one(
    context: Context,
    helper: Helper,
    prototype: Prototype,
    argument: HelperArg,
    value: Operand,
    place: Span,
    owner: MapDecl | None,
    sized: bool,
) -> tree.Expr:
    kind = argument.kind
    what = f"the argument `{argument.name}` of `{helper.name}`"
    if kind in _NOT_YET:
        raise context.refusal(
            Code.E0808, place, f"{what} is {_NOT_YET[kind]}", notes=["this is not available in programs yet"]
        )
    if argument.nullable and isinstance(value, Static) and value.value is None:
        return tree.NullConst(type=Maybe(Pointer(Handle.MEMORY)), span=place)
    match kind:
        case ArgKind.SCALAR | ArgKind.CONST_SIZE | ArgKind.CONST_SIZE_OR_ZERO:
            return _integer(context, value, what, place)
        case ArgKind.ALLOC_SIZE:
            expr = _integer(context, value, what, place)
            if not isinstance(expr, tree.IntConst):
                raise context.refusal(Code.E0806, place, f"{what} must be a constant")
            return expr
        case ArgKind.CTX:
            expr = conversions.runtime(context, value)
            if not isinstance(expr.type, ContextPtr):
                raise _refuse_kind(context, expr, what, "the program's context")
            return expr
        case ArgKind.MAP:
            declaration = _map_of(value)
            if declaration is None:
                raise context.refusal(Code.E0806, place, f"{what} must be a map")
            return tree.MapHandle(map=context.use_map(declaration), span=place)
        case ArgKind.MAP_KEY:
            return _of_map(context, value, what, place, owner.key if owner else None)
        case ArgKind.MAP_VALUE | ArgKind.UNINIT_MAP_VALUE:
            expr = _of_map(context, value, what, place, owner.value if owner else None)
            _check_writable(context, kind, expr, what)
            return expr
        case ArgKind.CONST_STR:
            if not isinstance(value, Static) or not isinstance(value.value, bytes):
                raise context.refusal(Code.E0806, place, f"{what} must be a bytes constant")
            return conversions.byte_string(value.value + b"\0", place)
        case ArgKind.STACK:
            expr = conversions.runtime(context, value)
            if not isinstance(expr.type, Ref):
                raise _refuse_kind(context, expr, what, "a struct, an array or bytes")
            return expr
        case ArgKind.BTF_ID:
            return _kernel_object(context, argument, value, what)
        case _ if kind in _SOCKETS:
            expr = conversions.runtime(context, value)
            if not (isinstance(expr.type, Pointer) and expr.type.handle is Handle.SOCKET):
                raise _refuse_kind(context, expr, what, "a socket")
            return expr
        case _:
            return _memory(context, prototype, argument, value, what, sized)


def _kernel_object(context: Context, argument: HelperArg, value: Operand, what: str) -> tree.Expr:
    """An object that the verifier knows by its type."""
    expr = conversions.runtime(context, value)
    kind = expr.type
    wanted = f"a `{argument.btf_type}` of the kernel" if argument.btf_type else "an object of the kernel"
    if not isinstance(kind, Kernel) or (argument.btf_type and btf.name_of(kind.of) != argument.btf_type):
        raise _refuse_kind(context, expr, what, wanted)
    if kind.trust is not Trust.TRACKED:
        raise context.refusal(
            Code.E0806,
            expr.span,
            f"{what} must be {wanted} that the verifier knows, this is any address",
            notes=[
                "arguments of `fentry`, `tp_btf`, `lsm` and `iter` programs are known, and what is read from them"
            ],
        )
    return expr


def _integer(context: Context, value: Operand, what: str, place: Span) -> tree.Expr:
    expr = conversions.runtime(context, value)
    if isinstance(expr.type, Kernel | User):
        return tree.AddressAs(operand=expr, type=U64, span=expr.span)
    if not isinstance(expr.type, Int) and not isinstance(expr.type, Bool):
        raise _refuse_kind(context, expr, what, "an integer")
    del place
    return conversions.integer(context, expr)


def _refuse_kind(context: Context, expr: tree.Expr, what: str, wanted: str) -> Refused:
    if isinstance(expr.type, Maybe):
        return conversions.refuse_optional(context, expr.span, describe(expr.type.of))
    return context.refusal(Code.E0806, expr.span, f"{what} must be {wanted}, this is {describe(expr.type)}")


def _memory(
    context: Context, prototype: Prototype, argument: HelperArg, value: Operand, what: str, sized: bool
) -> tree.Expr:
    """Memory that the helper reads or writes: a struct, an array or bytes."""
    expr = conversions.runtime(context, value)
    if not isinstance(expr.type, Ref):
        raise _refuse_kind(context, expr, what, "memory: a struct, an array or bytes")
    assert isinstance(expr.type, Ref)
    if expr.type.origin is Origin.PACKET and not prototype.packet_access:
        raise context.refusal(
            Code.E0806,
            expr.span,
            f"{what} cannot be memory in the packet",
            notes=["the kernel does not let this helper access the packet"],
            help="pass a copy: `bpf.copy(…)`",
        )
    if argument.size is not None and not sized and expr.type.layout.size < argument.size:
        raise context.refusal(
            Code.E0807,
            expr.span,
            f"{what} must have {argument.size} bytes, this has {expr.type.layout.size}",
        )
    _check_writable(context, argument.kind, expr, what)
    return expr


def _check_writable(context: Context, kind: ArgKind, expr: tree.Expr, what: str) -> None:
    if kind in WRITTEN and isinstance(expr.type, Ref) and expr.type.origin is Origin.CONSTANT:
        raise context.refusal(
            Code.E0505, expr.span, f"{what} is written, and this is constant", help="use `bpf.chars(n)`"
        )


def _check_size(
    context: Context, argument: HelperArg, memory: tree.Expr, size: tree.Expr, place: Span
) -> None:
    kind = int_type(size)
    least = 0 if argument.kind is ArgKind.CONST_SIZE_OR_ZERO else 1
    room = memory.type.layout.size if isinstance(memory.type, Ref) else 0
    if isinstance(memory, tree.ConstData):
        room = max(room, len(memory.data))
    if kind.lo >= least and kind.hi <= room and kind.exact:
        return
    raise context.refusal(
        Code.E0807,
        place,
        f"the size {interval(kind)} does not fit the memory, which has {room} bytes",
        notes=[f"it must be known to be in {least} … {room}"],
        help="pass `bpf.sizeof(…)` of the object, or test the size first",
    )


def _of_map(context: Context, value: Operand, what: str, place: Span, layout: Layout | None) -> tree.Expr:
    """A key or value: of an integer type it is put into memory of its own."""
    if layout is None:
        raise context.refusal(Code.E0806, place, f"{what} belongs to a map that has none")
    expr = conversions.runtime(context, value)
    if isinstance(layout, IntType) and not isinstance(expr.type, Ref):
        number = conversions.stored(context, value, layout, what)
        array = ArrayType(layout, 1)
        return tree.NewArray(layout=array, items=(number,), type=Ref(array, Origin.LOCAL), span=place)
    if isinstance(expr.type, Ref) and expr.type.layout.size >= layout.size:
        return expr
    raise _refuse_kind(context, expr, what, f"{layout.name}")
