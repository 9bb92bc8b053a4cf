"""Maps in programs: items, membership, deletion, methods, ring buffers, queues.

What a map offers depends on its type: ``_METHODS`` lists it for each, so that another type is a row.
"""

from __future__ import annotations

from pyebpf.codes import Code
from pyebpf.declare import MapDecl, declaration_of
from pyebpf.diagnostics import Span
from pyebpf.frontend import conversions, tree
from pyebpf.frontend.arguments import arguments
from pyebpf.frontend.arithmetic import constant
from pyebpf.frontend.blocks import statement
from pyebpf.frontend.conditions import conditional
from pyebpf.frontend.expressions import operand, refuse_construct
from pyebpf.frontend.map_records import name_of, record_expr
from pyebpf.frontend.optionals import bind_reference
from pyebpf.frontend.outcomes import Test, split
from pyebpf.frontend.packets import refuse_stale
from pyebpf.frontend.session import Context, Refused
from pyebpf.frontend.suggest import near
from pyebpf.frontend.types import Int, Maybe, Origin, Ref
from pyebpf.frontend.values import FoundInt, Method, Operand, Static, describe
from pyebpf.hints import Any
from pyebpf.layout import IntType, Layout
from pyebpf.uapi.constants import MapType

KEYED = frozenset(
    {
        MapType.HASH,
        MapType.ARRAY,
        MapType.PERCPU_HASH,
        MapType.PERCPU_ARRAY,
        MapType.LRU_HASH,
        MapType.LRU_PERCPU_HASH,
        MapType.LPM_TRIE,
    }
)
_PER_CPU = frozenset({MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH})
_QUEUES = frozenset({MapType.QUEUE, MapType.STACK})

_METHODS: dict[MapType, tuple[str, ...]] = {
    **dict.fromkeys(KEYED - tree.ARRAYS, ("get", "update", "delete")),
    **dict.fromkeys(tree.ARRAYS, ("get", "update")),
    **dict.fromkeys(_QUEUES, ("push", "pop", "peek")),
    MapType.RINGBUF: ("output", "reserve"),
    MapType.PERF_EVENT_ARRAY: ("output",),
}
_USER_SPACE = {
    "items": "walks the whole map",
    "keys": "walks the whole map",
    "values": "walks the whole map",
    "clear": "walks the whole map",
    "setdefault": "",
    "update_batch": "",
    "delete_batch": "",
    "lookup_batch": "",
    "pin": "works with a file system path",
    "close": "closes a file descriptor",
    "poll": "waits for records",
    "consume": "takes the records out",
    "batch": "waits for records",
    "stream": "waits for records",
    "read_all": "takes the records out",
    "numpy": "takes the records out",
    "use": "asks the kernel how full it is",
    "lost": "counts what user space missed",
    "live": "is the kernel's map as user space has it",
    "fd": "is a file descriptor",
    "sum": "adds up the values of all CPUs",
    "per_cpu": "gives the values of all CPUs",
}
ERRNO = Int(False, -4095, 0, seen=False)


def _keyed(context: Context, declaration: MapDecl, span: Span, what: str) -> tuple[Layout, Layout]:
    if declaration.type not in KEYED or declaration.key is None or declaration.value is None:
        offers = _METHODS.get(declaration.type, ())
        raise context.refusal(
            Code.E0601,
            span,
            f"{what} is not available for {name_of(declaration)}",
            help=f"it has {', '.join(f'`{m}`' for m in offers)}" if offers else (),
        )
    context.use_map(declaration)
    return declaration.key, declaration.value


def value_type(declaration: MapDecl, layout: Layout) -> Ref:
    """The type of a reference to a value of the map."""
    return Ref(layout, Origin.MAP_VALUE, shared=declaration.type not in _PER_CPU, owner=declaration)


def key_expr(context: Context, found: Operand, layout: Layout, span: Span) -> tree.Expr:
    """A key as the map stores it; refuses other types."""
    try_type = conversions.runtime(context, found)
    if isinstance(layout, IntType) == isinstance(try_type.type, Ref) or (
        isinstance(try_type.type, Ref) and not _storable(try_type.type.layout, layout)
    ):
        raise context.refusal(
            Code.E0603,
            span,
            f"the key is {describe(try_type.type)}, the map's keys are {layout.name}",
        )
    return conversions.stored(context, found, layout, "the key")


def _storable(given: Layout, wanted: Layout) -> bool:
    return given == wanted or (type(given) is type(wanted) and type(given).__name__ == "BytesType")


def value_expr(context: Context, found: Operand, layout: Layout, span: Span) -> tree.Expr:
    """A value as the map stores it; refuses other types."""
    expr = conversions.runtime(context, found)
    fits = isinstance(layout, IntType) != isinstance(expr.type, Ref)
    if fits and isinstance(expr.type, Ref):
        fits = _storable(expr.type.layout, layout)
    if not fits and not isinstance(expr.type, Maybe):
        raise context.refusal(
            Code.E0604, span, f"the value is {describe(expr.type)}, the map's values are {layout.name}"
        )
    return conversions.stored(context, found, layout, "the value")


# ---------------------------------------------------------------- items


def item_reference(context: Context, declaration: MapDecl, node: Any, span: Span) -> tree.Expr:
    """``m[k]`` as a reference: a missing key raises KeyError, or is inserted where the map has a default."""
    key_layout, value_layout = _keyed(context, declaration, span, "`[…]`")
    key = key_expr(context, operand(context, node.slice), key_layout, context.span(node.slice))
    missing = tree.Missing.RAISE
    if declaration.default is not None and declaration.type not in tree.ARRAYS:
        missing = tree.Missing.INSERT
    context.raises(tree.Exc.OS if missing is tree.Missing.INSERT else tree.Exc.KEY)
    kind = value_type(declaration, value_layout)
    return tree.MapLookup(map=declaration, key=key, missing=missing, type=kind, span=span)


def item(context: Context, declaration: MapDecl, base: Static, node: Any, span: Span) -> Operand:
    """``m[k]`` as a value."""
    del base
    if declaration.type is MapType.PROG_ARRAY:
        index = operand(context, node.slice)
        return Method(Static((declaration, index), span), "__call__", span)
    return conversions.read(item_reference(context, declaration, node, span), span)


def store_item(context: Context, declaration: MapDecl, node: Any, found: Operand, span: Span) -> None:
    """``m[k] = v``: a failure raises OSError."""
    where = context.span(node)
    key_layout, value_layout = _keyed(context, declaration, where, "`[…] = …`")
    value = value_expr(context, found, value_layout, span)
    key = key_expr(context, operand(context, node.slice), key_layout, context.span(node.slice))
    refuse_stale(context, [key, value])
    context.raises(tree.Exc.OS)
    update = tree.MapUpdate(
        map=declaration, key=key, value=value, flags=constant(0, span), checked=True, type=ERRNO, span=span
    )
    context.out.append(tree.Evaluate(value=update, span=span))


@statement("Delete")
def _del(context: Context, node: Any) -> None:
    for target in node.targets:
        context.coverage.mark(target)
        if type(target).__name__ != "Subscript":
            raise refuse_construct(context, target)
        delete_item(context, target)


def delete_item(context: Context, node: Any) -> None:
    """``del m[k]``: a missing key raises KeyError."""
    base = operand(context, node.value)
    span = context.span(node)
    declaration = declaration_of(base.value) if isinstance(base, Static) else None
    if not isinstance(declaration, MapDecl):
        raise context.refusal(Code.E0101, node, "`del` works on items of maps")
    key_layout, _ = _keyed(context, declaration, span, "`del`")
    _refuse_array_delete(context, declaration, span)
    key = key_expr(context, operand(context, node.slice), key_layout, context.span(node.slice))
    context.raises(tree.Exc.KEY)
    delete = tree.MapDelete(map=declaration, key=key, checked=True, type=ERRNO, span=span)
    context.out.append(tree.Evaluate(value=delete, span=span))


def _refuse_array_delete(context: Context, declaration: MapDecl, span: Span) -> None:
    if declaration.type in tree.ARRAYS:
        raise context.refusal(
            Code.E0601,
            span,
            f"elements of {name_of(declaration)} cannot be deleted",
            help="store zero, or use a `HashMap`",
        )


def lookup(
    context: Context, declaration: MapDecl, key: tree.Expr, layout: Layout, span: Span
) -> tree.MapLookup:
    """An optional reference to the value of a key."""
    kind = Maybe(value_type(declaration, layout))
    return tree.MapLookup(map=declaration, key=key, missing=tree.Missing.NULL, type=kind, span=span)


def contains(context: Context, left: Operand, right: Static, span: Span) -> Test:
    """``k in m``."""
    declaration = declaration_of(right.value)
    assert isinstance(declaration, MapDecl)
    key_layout, value_layout = _keyed(context, declaration, right.span, "`in`")
    key = key_expr(context, left, key_layout, span)
    found = lookup(context, declaration, key, value_layout, span)
    yes, no = split(context)
    return Test(tree.IsNone(operand=found, negated=True, span=span), None, yes, no)


# ---------------------------------------------------------------- methods


def call_method(context: Context, method: Method, call: Any) -> Operand:
    """``m.method(…)``."""
    assert isinstance(method.receiver, Static)
    declaration = declaration_of(method.receiver.value)
    assert isinstance(declaration, MapDecl)
    offers = _METHODS.get(declaration.type, ())
    if method.name not in offers:
        raise _refuse_method(context, declaration, method, offers)
    context.use_map(declaration)
    match method.name:
        case "get":
            return _get(context, declaration, call)
        case "update":
            return _update(context, declaration, call)
        case "delete":
            return _delete(context, declaration, call)
        case "push":
            return _push(context, declaration, call)
        case "pop" | "peek":
            return _pop(context, declaration, call, peek=method.name == "peek")
        case "output":
            return _output(context, declaration, call)
        case _:
            raise context.refusal(
                Code.E0408,
                call,
                f"`{method.name}` is used in a `with` statement",
                help="write `with ring.reserve(T) as record:`",
            )


def _refuse_method(
    context: Context, declaration: MapDecl, method: Method, offers: tuple[str, ...]
) -> Refused:
    if method.name in _USER_SPACE:
        reason = _USER_SPACE[method.name]
        return context.refusal(
            Code.E0602,
            method.span,
            f"`{method.name}` of a map works in user space only",
            notes=[f"it {reason}, which a program in the kernel cannot do"] if reason else [],
        )
    return context.refusal(
        Code.E0601,
        method.span,
        f"{name_of(declaration)} has no method `{method.name}` in programs",
        help=near(method.name, offers) or (f"it has {', '.join(f'`{m}`' for m in offers)}" if offers else ()),
    )


def _get(context: Context, declaration: MapDecl, call: Any) -> Operand:
    key_layout, value_layout = _keyed(context, declaration, context.span(call), "`get`")
    given = arguments(context, call, ("key", "default"), optional=1, code=Code.E0605)
    span = context.span(call)
    key = key_expr(context, given.values[0], key_layout, given.spans[0])
    found = lookup(context, declaration, key, value_layout, span)
    if not given.present(1) or (isinstance(given.values[1], Static) and given.values[1].value is None):
        return FoundInt(found, span) if isinstance(value_layout, IntType) else found
    if not isinstance(value_layout, IntType):
        raise context.refusal(
            Code.E0606,
            given.spans[1],
            "`get` with a default works for maps of integers",
            help="use `get(key)` and test the result with `is None`",
        )
    default = conversions.integer(context, given.values[1], "an integer as the default")
    if not isinstance(default, tree.IntConst | tree.GetLocal):
        raise context.refusal(
            Code.E0606,
            given.spans[1],
            "the default must be a constant or a variable",
            help="assign it to a variable first",
        )
    bound, reference = bind_reference(context, found)
    there = tree.IsNone(operand=bound, negated=True, span=span)
    return conditional(context, there, conversions.read(reference), default, span)


def _flags(context: Context, given: Any, position: int, span: Span) -> tree.Expr:
    if given.present(position):
        return conversions.integer(context, given.values[position], "an integer for the flags")
    return constant(0, span)


def _update(context: Context, declaration: MapDecl, call: Any) -> Operand:
    key_layout, value_layout = _keyed(context, declaration, context.span(call), "`update`")
    given = arguments(context, call, ("key", "value", "flags"), optional=1, code=Code.E0605)
    span = context.span(call)
    key = key_expr(context, given.values[0], key_layout, given.spans[0])
    value = value_expr(context, given.values[1], value_layout, given.spans[1])
    flags = _flags(context, given, 2, span)
    refuse_stale(context, [key, value])
    return tree.MapUpdate(
        map=declaration, key=key, value=value, flags=flags, checked=False, type=ERRNO, span=span
    )


def _delete(context: Context, declaration: MapDecl, call: Any) -> Operand:
    key_layout, _ = _keyed(context, declaration, context.span(call), "`delete`")
    given = arguments(context, call, ("key",), code=Code.E0605)
    key = key_expr(context, given.values[0], key_layout, given.spans[0])
    return tree.MapDelete(map=declaration, key=key, checked=False, type=ERRNO, span=context.span(call))


def _push(context: Context, declaration: MapDecl, call: Any) -> Operand:
    assert declaration.value is not None
    given = arguments(context, call, ("value", "flags"), optional=1, code=Code.E0605)
    span = context.span(call)
    value = value_expr(context, given.values[0], declaration.value, given.spans[0])
    return tree.MapPush(
        map=declaration,
        value=value,
        flags=_flags(context, given, 1, span),
        checked=False,
        type=ERRNO,
        span=span,
    )


def _pop(context: Context, declaration: MapDecl, call: Any, *, peek: bool) -> Operand:
    assert declaration.value is not None
    arguments(context, call, (), code=Code.E0605)
    context.raises(tree.Exc.INDEX)
    kind = Ref(declaration.value, Origin.LOCAL)
    span = context.span(call)
    return conversions.read(tree.MapPop(map=declaration, peek=peek, type=kind, span=span), span)


def _output(context: Context, declaration: MapDecl, call: Any) -> Operand:
    given = arguments(context, call, ("value", "flags"), optional=1, code=Code.E0605)
    span = context.span(call)
    value = record_expr(context, declaration, given.values[0], given.spans[0])
    return tree.RingOutput(
        map=declaration,
        value=value,
        flags=_flags(context, given, 1, span),
        checked=False,
        type=ERRNO,
        span=span,
    )
