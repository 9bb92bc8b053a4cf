"""What the functions of the language and of Python itself mean: ``bpf.sizeof``, ``bpf.copy``, ``len``, ``min``, ….

``call`` goes by ``declare.Builtin``, ``PYTHON`` by Python's own object. What neither knows is refused by the caller.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable

from pyebpf.codes import Code
from pyebpf.declare import Builtin, HelperDecl, declaration_of
from pyebpf.diagnostics import Span
from pyebpf.frontend import callbacks, contexts, conversions, helpers, kernel_calls, printing, strings, tree
from pyebpf.frontend.arguments import arguments, assigns
from pyebpf.frontend.arithmetic import clamp, constant, int_type
from pyebpf.frontend.comparisons import compare_ints
from pyebpf.frontend.conditions import conditional, test
from pyebpf.frontend.expressions import FOLDABLE, fold, operand
from pyebpf.frontend.flow import join_states
from pyebpf.frontend.session import Context
from pyebpf.frontend.types import ContextPtr, Int, Maybe, Origin, Ref
from pyebpf.frontend.values import Items, Operand, Static, describe
from pyebpf.hints import Any
from pyebpf.layout import ArrayType, BytesType, IntType, Layout, StructType

Handler = Callable[[Context, Any], Operand]


def call(context: Context, which: Builtin, node: Any) -> Operand:
    """A call of a function of the language."""
    looks = kernel_calls.FUNCTIONS.get(which)
    if looks is not None:
        return looks(context, node)
    match which:
        case Builtin.LOOP:
            return callbacks.loop(context, node)
        case Builtin.COPY:
            return _copy(context, node)
        case Builtin.SIZEOF:
            return _sizeof(context, node)
        case Builtin.CHECKED:
            return _checked(context, node)
        case Builtin.CHARS:
            return _chars(context, node)
        case Builtin.ARRAY:
            return _array(context, node)
        case Builtin.HTONS | Builtin.NTOHS:
            return _swap(context, node, 16)
        case Builtin.HTONL | Builtin.NTOHL:
            return _swap(context, node, 32)
        case Builtin.HTONLL | Builtin.NTOHLL:
            return _swap(context, node, 64)
        case Builtin.LOG2 | Builtin.LOG2L:
            return _log2(context, node)
        case Builtin.SNPRINTF:
            return printing.snprintf(context, node)
        case Builtin.TRACE_PRINT:
            raise context.refusal(
                Code.E0602,
                node.func,
                "`trace_print` works in user space only",
                help='print in a program with `print(f"…")`',
            )
        case _:
            raise context.bug(f"{which.value} has no meaning", context.span(node))


# ---------------------------------------------------------------- the language's own


def layout_of(context: Context, found: Operand, span: Span) -> Layout | None:
    """The layout that an operand names as a type, or has as a value."""
    if isinstance(found, Static):
        declaration = declaration_of(found.value)
        if isinstance(declaration, IntType | StructType | BytesType | ArrayType):
            return declaration
        if isinstance(found.value, bytes):
            return BytesType(max(1, len(found.value)))
        return None
    expr = conversions.runtime(context, found)
    conversions.refuse_unevaluated(context, expr, span, "the size of this is known")
    return expr.type.layout if isinstance(expr.type, Ref) else None


def _sizeof(context: Context, node: Any) -> Operand:
    given = arguments(context, node, ("of",))
    span = context.span(node)
    layout = layout_of(context, given.values[0], span)
    if layout is None:
        raise context.refusal(
            Code.E0301, given.spans[0], "this has no size in memory", help="name a type, a struct or an array"
        )
    return Static(layout.size, span)


def _copy(context: Context, node: Any) -> Operand:
    given = arguments(context, node, ("value",))
    expr = conversions.runtime(context, given.values[0])
    if isinstance(expr.type, Maybe):
        raise conversions.refuse_optional(context, expr.span, describe(expr.type.of))
    if not isinstance(expr.type, Ref):
        return expr  # an integer is its own copy
    kind = Ref(expr.type.layout, Origin.LOCAL)
    return tree.CopyOf(source=expr, type=kind, span=context.span(node))


def _checked(context: Context, node: Any) -> Operand:
    """``bpf.checked(helper(…))``, and of the map methods that return an error number."""
    if len(node.args) != 1 or node.keywords:
        raise context.refusal(Code.E0810, node, "`checked` takes one call of a helper")
    inner = node.args[0]
    if type(inner).__name__ in ("Attribute", "Subscript"):
        found = operand(context, inner)
        if isinstance(found, tree.KernelRead | tree.UserRead | tree.FarCopy):
            _check_reads(found)
            context.raises(tree.Exc.OS)
            return found
    if type(inner).__name__ == "Call":
        context.coverage.mark(inner)
        found = operand(context, inner.func)
        if isinstance(found, Static) and isinstance(declaration_of(found.value), HelperDecl):
            declaration = declaration_of(found.value)
            assert isinstance(declaration, HelperDecl)
            return helpers.call(context, declaration, inner, checked=True)
        result = operand(context, inner)
        if isinstance(result, tree.HelperCall):
            helpers.check_result(context, result)
            return result
        if isinstance(result, tree.FarCopy | tree.UserRead):
            result.checked = True
            context.raises(tree.Exc.OS)
            return result
        if isinstance(result, tree.MapUpdate | tree.MapDelete | tree.MapPush | tree.RingOutput):
            result.checked = True
            context.raises(tree.Exc.KEY if isinstance(result, tree.MapDelete) else tree.Exc.OS)
            return result
    raise context.refusal(
        Code.E0810,
        inner,
        "`checked` takes a call of a helper",
        help="write `bpf.checked(bpf.some_helper(…))`",
    )


def _check_reads(expr: tree.Expr) -> None:
    """Let every read on the way of a chain of fields raise where it fails."""
    match expr:
        case tree.KernelRead(place=place):
            expr.checked = True
            _check_reads(place)
        case tree.KernelMember(base=base) | tree.KernelElement(base=base) | tree.UserMember(base=base):
            _check_reads(base)
        case tree.FarCopy(address=address) | tree.UserRead(address=address):
            expr.checked = True
            _check_reads(address)
        case _:
            pass


def _positive(context: Context, found: Operand, span: Span) -> int:
    if not isinstance(found, Static) or not isinstance(found.value, int) or found.value < 1:
        raise context.refusal(Code.E0506, span, "the length must be a positive constant")
    return int(found.value)


def _chars(context: Context, node: Any) -> Operand:
    given = arguments(context, node, ("length",))
    layout = BytesType(_positive(context, given.values[0], given.spans[0]))
    return tree.NewArray(layout=layout, items=(), type=Ref(layout, Origin.LOCAL), span=context.span(node))


def _array(context: Context, node: Any) -> Operand:
    given = arguments(context, node, ("element", "length"))
    element = layout_of(context, given.values[0], given.spans[0])
    if element is None or not isinstance(given.values[0], Static):
        raise context.refusal(
            Code.E0301, given.spans[0], "a type is wanted here", help="name an integer type or a struct"
        )
    layout = ArrayType(element, _positive(context, given.values[1], given.spans[1]))
    return tree.NewArray(layout=layout, items=(), type=Ref(layout, Origin.LOCAL), span=context.span(node))


def _swap(context: Context, node: Any, bits: int) -> Operand:
    given = arguments(context, node, ("value",))
    span = context.span(node)
    found = given.values[0]
    size = bits // 8
    if isinstance(found, Static) and isinstance(found.value, int):
        low = int(found.value) & ((1 << bits) - 1)
        order: Any = context.session.target.byteorder
        return Static(int.from_bytes(low.to_bytes(size, order), "big"), span)
    kind = Int(bits == 64, 0, (1 << bits) - 1, seen=False)
    expr = conversions.integer(context, found)
    return tree.SwapBytes(bits=bits, operand=expr, type=kind, span=span)


def _log2(context: Context, node: Any) -> Operand:
    given = arguments(context, node, ("value",))
    found, span = given.values[0], context.span(node)
    if isinstance(found, Static) and isinstance(found.value, int):
        return Static(max((int(found.value) & ((1 << 64) - 1)).bit_length() - 1, 0), span)
    expr = conversions.integer(context, found)
    kind = int_type(expr)
    hi = max(kind.hi.bit_length() - 1, 0) if kind.nonnegative and kind.exact else 63
    return tree.Log2(operand=expr, type=Int(False, 0, hi, seen=False), span=span)


# ---------------------------------------------------------------- Python's


def _len(context: Context, node: Any) -> Operand:
    given = arguments(context, node, ("obj",), positional=1)
    found, span = given.values[0], context.span(node)
    if isinstance(found, Static) and isinstance(found.value, bytes | tuple | str | range):
        return Static(len(found.value), span)
    if isinstance(found, Items):
        conversions.refuse_unevaluated(context, found, span, "the length of this tuple is known")
        return Static(len(found.items), span)
    expr = conversions.runtime(context, found)
    match expr.type:
        case ContextPtr():
            return contexts.length(context, expr, span)
        case Ref(layout=ArrayType() as layout):
            conversions.refuse_unevaluated(context, expr, span, "the length of this array is known")
            return Static(layout.length, span)
        case Ref(layout=BytesType()):
            return strings.length(context, expr, span)
        case Maybe():
            raise conversions.refuse_optional(context, expr.span, describe(expr.type.of))
        case _:
            raise context.refusal(Code.E0301, expr.span, f"{describe(expr.type)} has no length")


def _int(context: Context, node: Any) -> Operand:
    given = arguments(context, node, ("x",), optional=1, positional=1)
    span = context.span(node)
    if not given.present(0):
        return Static(0, span)
    found = given.values[0]
    if isinstance(found, Static) and isinstance(found.value, int | float | str):
        value: Any = found.value
        return fold(context, span, lambda: int(value))
    return conversions.integer(context, found)


def _bool(context: Context, node: Any) -> Operand:
    if len(node.args) != 1 or node.keywords:
        raise context.refusal(Code.E0903, node, "`bool` takes one value")
    found = test(context, node.args[0]).settled()
    context.state = join_states(found.yes, found.no)
    return found.result(context.span(node))


def _abs(context: Context, node: Any) -> Operand:
    given = arguments(context, node, ("x",), positional=1)
    found, span = given.values[0], context.span(node)
    if isinstance(found, Static) and isinstance(found.value, int | float):
        value: Any = found.value
        return fold(context, span, lambda: abs(value))
    expr = conversions.integer(context, found)
    kind = int_type(expr)
    if kind.nonnegative:
        return expr
    local = context.temporary(kind, span)
    bound = tree.Bind(local=local, value=expr, type=kind, span=span)
    negative = tree.Compare(op=tree.CompareOp.LT, left=bound, right=constant(0, span), span=span)
    again = tree.GetLocal(local=local, type=kind, span=span)
    result = clamp(False, 0, max(abs(kind.lo), abs(kind.hi)), seen=False, exact=False)
    return tree.Conditional(
        test=negative,
        then=tree.Negate(operand=again, type=result, span=span),
        otherwise=again,
        type=result,
        span=span,
    )


def _extreme(context: Context, node: Any, op: tree.CompareOp, python: Callable[..., Any]) -> Operand:
    """``min`` and ``max`` of two or more integers: a chain of comparisons."""
    span = context.span(node)
    if node.keywords:
        raise context.refusal(
            Code.E0903, node.keywords[0], f"`{python.__name__}` takes no keywords in programs"
        )
    values = [operand(context, child) for child in node.args]
    if len(values) == 1 and isinstance(values[0], Static) and isinstance(values[0].value, tuple):
        values = [Static(item, values[0].span) for item in values[0].value]
    if len(values) < 2:
        raise context.refusal(Code.E0903, node, f"`{python.__name__}` takes two or more integers")
    if all(isinstance(v, Static) and isinstance(v.value, int | float) for v in values):
        numbers: list[Any] = [v.value for v in values if isinstance(v, Static)]
        return fold(context, span, lambda: python(numbers))
    # A variable is read again for the result, unless the arguments after it may assign it.
    steady = not any(assigns(child) for child in node.args[1:])
    best, again = _bound(context, values[0], steady)
    for value in values[1:]:
        best, again = _bound(context, _better(context, best, again, value, op, span))
    return best


def _bound(context: Context, found: Operand, steady: bool = True) -> tuple[tree.Expr, tree.Expr]:
    expr = conversions.integer(context, found)
    if isinstance(expr, tree.IntConst) or (steady and isinstance(expr, tree.GetLocal)):
        return expr, expr
    local = context.temporary(expr.type, expr.span)
    bound = tree.Bind(local=local, value=expr, type=expr.type, span=expr.span)
    return bound, tree.GetLocal(local=local, type=expr.type, span=expr.span)


def _better(
    context: Context, best: tree.Expr, again: tree.Expr, value: Operand, op: tree.CompareOp, span: Span
) -> tree.Expr:
    other, other_again = _bound(context, value)
    # Written so that ``best`` is evaluated first, as Python does.
    found = compare_ints(context, _SWAPPED[op], best, other, span)
    assert found.expr is not None
    one, two = int_type(other_again), int_type(again)
    result = conditional(context, found.expr, other_again, again, span)
    kind = result.type
    assert isinstance(kind, Int)
    ends = (min(one.lo, two.lo), min(one.hi, two.hi))
    if op is tree.CompareOp.GT:
        ends = (max(one.lo, two.lo), max(one.hi, two.hi))
    # Of a comparison with a constant the verifier learns on both ways.
    constant = isinstance(other_again, tree.IntConst) or isinstance(again, tree.IntConst)
    seen = constant and one.seen and two.seen and one.nonnegative and two.nonnegative
    sharp = Int(kind.unsigned, *ends, seen=seen and kind.exact, exact=kind.exact)
    assert isinstance(result, tree.Conditional)
    result.type = sharp
    return result


_SWAPPED = {tree.CompareOp.LT: tree.CompareOp.GT, tree.CompareOp.GT: tree.CompareOp.LT}


def _range(context: Context, node: Any) -> Operand:
    values = [operand(context, child) for child in node.args]
    if node.keywords or not all(isinstance(v, Static) and isinstance(v.value, int) for v in values):
        raise context.refusal(
            Code.E0301,
            node,
            "a `range` of run-time values is not a value here",
            help="use it in `for i in range(…)`",
        )
    numbers: list[Any] = [v.value for v in values if isinstance(v, Static)]
    return fold(context, context.span(node), lambda: range(*numbers))


def _folded(python: Callable[..., object]) -> Handler:
    """A function of Python that is computed while compiling, if all its arguments are constants."""

    def handler(context: Context, node: Any) -> Operand:
        values = [operand(context, child) for child in node.args]
        constants = [
            v.value for v in values if isinstance(v, Static) and isinstance(v.value, (*FOLDABLE, range))
        ]
        if node.keywords or len(constants) < len(values):
            raise context.refusal(
                Code.E0904,
                node.func,
                f"`{python.__name__}` of values known only at run time cannot be compiled",
                notes=["with constants it is computed while compiling"],
            )
        return fold(context, context.span(node), lambda: python(*constants))

    return handler


PYTHON: dict[object, Handler] = {
    **{python: _folded(python) for python in (divmod, float, ord, pow, round)},
    builtins.len: _len,
    builtins.int: _int,
    builtins.bool: _bool,
    builtins.abs: _abs,
    builtins.min: lambda context, node: _extreme(context, node, tree.CompareOp.LT, min),
    builtins.max: lambda context, node: _extreme(context, node, tree.CompareOp.GT, max),
    builtins.range: _range,
    builtins.print: printing.print_call,
}
