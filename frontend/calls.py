"""Calls: what is called decides which subject handles it."""

from __future__ import annotations

import types

from pyebpf.codes import Code
from pyebpf.declare import (
    Builtin,
    ContextDecl,
    FunctionDecl,
    GlobalDecl,
    HelperDecl,
    KernelTypeDecl,
    MapDecl,
    ProgramDecl,
    UserDecl,
    declaration_of,
)
from pyebpf.frontend import (
    aggregates,
    builtins,
    contexts,
    conversions,
    functions,
    helpers,
    kernel_calls,
    maps,
    perf_events,
    printing,
    strings,
)
from pyebpf.frontend.arguments import arguments, called, plain_arguments
from pyebpf.frontend.arithmetic import reinterpret
from pyebpf.frontend.expressions import FOLDABLE, expression, fold, operand
from pyebpf.frontend.scope import NestedFunction
from pyebpf.frontend.session import Context
from pyebpf.frontend.types import ContextPtr, Kernel, Maybe, Ref, User
from pyebpf.frontend.values import Method, Operand, Static, describe
from pyebpf.hints import Any
from pyebpf.layout import ArrayType, BytesType, IntType, StructType
from pyebpf.uapi.constants import MapType


@expression("Call")
def _call(context: Context, node: Any) -> Operand:
    found = operand(context, node.func)
    plain_arguments(context, node)
    match found:
        case Method():
            return _call_method(context, found, node)
        case Static():
            return _call_static(context, found, node)
        case _:
            expr = conversions.runtime(context, found)
            raise context.refusal(Code.E0904, node.func, f"{describe(expr.type)} cannot be called")


def _call_method(context: Context, method: Method, node: Any) -> Operand:
    receiver = method.receiver
    if isinstance(receiver, Static):
        declaration = declaration_of(receiver.value)
        if isinstance(declaration, MapDecl):
            if declaration.type is MapType.PERF_EVENT_ARRAY and method.name == "output":
                return perf_events.output(context, declaration, receiver, node)
            return maps.call_method(context, method, node)
        raise context.refusal(
            Code.E0907,
            node,
            "a tail call is written `return progs[i](ctx)`",
            notes=["it does not come back, so nothing can follow it"],
        )
    match receiver.type:
        case ContextPtr():
            return contexts.call_method(context, method, node)
        case Ref(layout=BytesType()):
            return strings.call_method(context, method, node)
        case Kernel() | User():
            return kernel_calls.call_method(context, receiver, method.name, node)
        case Maybe():
            raise conversions.refuse_optional(context, receiver.span, describe(receiver.type.of))
        case _:
            raise context.refusal(
                Code.E0904,
                method.span,
                f"{describe(receiver.type)} has no method `{method.name}` in programs",
            )


def _call_static(context: Context, found: Static, node: Any) -> Operand:
    value = found.value
    declaration = declaration_of(value)
    match declaration:
        case HelperDecl(name="seq_printf"):
            return printing.seq_printf(context, node)
        case HelperDecl():
            return helpers.call(context, declaration, node)
        case Builtin():
            return builtins.call(context, declaration, node)
        case IntType():
            return _convert(context, declaration, node)
        case StructType():
            return aggregates.construct(context, declaration, node)
        case FunctionDecl():
            return functions.call(context, declaration.function, declaration.style, node)
        case ProgramDecl():
            raise context.refusal(
                Code.E0910,
                node.func,
                "a program cannot be called by a program",
                help="call a plain function from both, or use a tail call",
            )
        case (
            MapDecl()
            | GlobalDecl()
            | ContextDecl()
            | BytesType()
            | ArrayType()
            | KernelTypeDecl()
            | UserDecl()
        ):
            raise context.refusal(
                Code.E0904, node.func, f"{conversions.what_is(value)} cannot be called in a program"
            )
    if isinstance(value, types.FunctionType | NestedFunction):
        return functions.call_plain(context, value, node)
    if isinstance(value, types.MethodType):
        raise context.refusal(
            Code.E0911, node.func, "methods cannot be called in programs", help="write a plain function"
        )
    handler = builtins.PYTHON.get(value) if _hashable(value) else None
    if handler is not None:
        return handler(context, node)
    if isinstance(value, types.BuiltinMethodType) and isinstance(value.__self__, FOLDABLE):
        return _fold_call(context, found, node)
    raise context.refusal(
        Code.E0904,
        node.func,
        f"`{called(node)}` cannot be called in a program",
        notes=[f"it is {conversions.what_is(value)} of Python itself"] if callable(value) else [],
    )


def _hashable(value: object) -> bool:
    return isinstance(value, type | types.BuiltinFunctionType)


def _fold_call(context: Context, found: Static, node: Any) -> Operand:
    """A method of a constant with constant arguments: computed by Python."""
    values = [operand(context, child) for child in node.args]
    if node.keywords or not all(isinstance(v, Static) and isinstance(v.value, FOLDABLE) for v in values):
        raise context.refusal(
            Code.E0904, node.func, f"`{called(node)}` of a constant needs constant arguments"
        )
    plain = [v.value for v in values if isinstance(v, Static)]
    function: Any = found.value
    return fold(context, context.span(node), lambda: function(*plain))


def _convert(context: Context, layout: IntType, node: Any) -> Operand:
    """``u32(x)``: the low bits of an integer."""
    given = arguments(context, node, ("x",), optional=1)
    span = context.span(node)
    if not given.present(0):
        return Static(0, span)
    found = given.values[0]
    if isinstance(found, Static) and isinstance(found.value, int):
        return conversions.constant_as(layout, int(found.value), span)
    expr = conversions.runtime(context, found)
    if isinstance(expr.type, Kernel | User):
        expr = kernel_calls.address(context, expr)
    expr = conversions.integer(context, expr)
    if layout.bits == 64:
        return reinterpret(expr, not layout.signed)
    return conversions.wrap(expr, layout, span)
