"""Calls of Python functions: instances for argument types, parameters, defaults, nested functions.

A Python function is analysed once for each combination of argument types (rounded, so that there are few) and
program type.
"""

from __future__ import annotations

import types
from collections.abc import Sequence

from pyebpf.codes import Code
from pyebpf.declare import FunctionStyle
from pyebpf.diagnostics import Diagnostic, Label, Span
from pyebpf.frontend import conversions, tree
from pyebpf.frontend.annotations import Annotation, parameter_annotations, read_annotation
from pyebpf.frontend.arguments import argument_nodes, called
from pyebpf.frontend.arithmetic import as_kind, reinterpret
from pyebpf.frontend.blocks import statement
from pyebpf.frontend.coverage import Coverage
from pyebpf.frontend.exceptions import python_name
from pyebpf.frontend.expressions import operand
from pyebpf.frontend.flow import Knowledge
from pyebpf.frontend.instances import analyse, check_parameters, make_instance, parameters_of
from pyebpf.frontend.packets import packet_changed, refuse_stale
from pyebpf.frontend.parse import Source, parse_function
from pyebpf.frontend.scope import NestedFunction, Scope
from pyebpf.frontend.session import Context, Instance, Memory, Poisoned
from pyebpf.frontend.types import (
    NONE,
    Bool,
    ContextPtr,
    Int,
    Kernel,
    Maybe,
    NoneT,
    Origin,
    Pointer,
    Ref,
    Type,
    User,
)
from pyebpf.frontend.values import Operand, Static, VariableType, describe, widen
from pyebpf.hints import Any
from pyebpf.ir.ops import Inlining
from pyebpf.layout import IntType, StructType

_GIVEN = (Origin.LOCAL, Origin.CALLER)
_INLINING = {
    FunctionStyle.PLAIN: Inlining.AUTO,
    FunctionStyle.ALWAYS_INLINE: Inlining.ALWAYS,
    FunctionStyle.NEVER_INLINE: Inlining.NEVER,
    FunctionStyle.GLOBAL: Inlining.NEVER,
}


def call_plain(context: Context, value: types.FunctionType | NestedFunction, node: Any) -> Operand:
    """A call of an undecorated function."""
    if isinstance(value, types.FunctionType) and value.__module__.partition(".")[0] == "pyebpf":
        raise context.refusal(
            Code.E0602,
            node.func,
            f"`{called(node)}` cannot be called in a program",
            notes=["it works in user space only"],
        )
    return call(context, value, FunctionStyle.PLAIN, node)


def call(
    context: Context, value: types.FunctionType | NestedFunction, style: FunctionStyle, node: Any
) -> Operand:
    """A call of a Python function: an instance for the types of the arguments."""
    span = context.span(node)
    if isinstance(value, NestedFunction):
        source, definition = value.source, value.node
        context.coverage.mark(definition)
    else:
        parsed = parse_function(value)
        source, definition = parsed.source, parsed.node
    header = _header(context, value, source, definition)
    check_parameters(header, definition)
    names = [argument.name for argument in parameters_of(definition)]
    defaults = _defaults(context, value, definition, names)
    positional = len(definition.args.posonlyargs)
    nodes = argument_nodes(context, node, names, optional=len(defaults), positional=positional)
    found = {name: operand(context, child) for name, child in nodes.items()}
    operands = [found[name] if name in found else Static(defaults[name], span) for name in names]
    args = [_argument(context, o) for o in operands]
    if style is not FunctionStyle.ALWAYS_INLINE and len(args) > 5:
        raise context.refusal(
            Code.E0902,
            span,
            f"`{definition.name}` takes {len(args)} arguments",
            notes=["BPF passes at most five arguments in registers"],
            help="put some of them into a struct, or mark the function with `@bpf.inline`",
        )
    refuse_stale(context, args)
    instance = instance_for(context, header, value, style, args, span)
    context.instance.callees.append(instance)
    if instance.failed:
        raise Poisoned
    return _call_expr(context, instance, args, span)


def _argument(context: Context, found: Operand) -> tree.Expr:
    expr = conversions.runtime(context, found)
    if isinstance(expr.type, NoneT):
        raise conversions.refuse_type(context, expr, "a value")
    return expr


def _call_expr(context: Context, instance: Instance, args: list[tree.Expr], span: Span) -> tree.Expr:
    function = instance.function
    wraps = [instance.scope.variables[a.name].wrap for a in parameters_of(instance.scope.node)]
    converted = [
        _as_parameter(expr, local.type, wrap)
        for expr, local, wrap in zip(args, function.params, wraps, strict=True)
    ]
    for exception in sorted(function.raises, key=lambda e: e.value):
        context.raises(exception)
    result = function.result
    expr = tree.FunctionCall(function=function, args=tuple(converted), type=result, span=span)
    if instance.changes_packet:
        packet_changed(context, span)
    return expr


def _as_parameter(expr: tree.Expr, wanted: Type, wrap: IntType | None) -> tree.Expr:
    """The argument as the parameter takes it: an annotated integer keeps the low bits, as in any assignment."""
    if isinstance(wanted, Int):
        number = conversions.to_int(expr) if isinstance(expr.type, Bool) else expr
        if wrap is not None:
            return conversions.wrap(number, wrap)
        kind = number.type
        assert isinstance(kind, Int)
        if kind.unsigned != wanted.unsigned:
            return (
                as_kind(number, wanted.unsigned) if kind.nonnegative else reinterpret(number, wanted.unsigned)
            )
        return number
    return expr


def _defaults(
    context: Context, value: types.FunctionType | NestedFunction, definition: Any, names: list[str]
) -> dict[str, object]:
    """The default values of parameters: Python's own, or constants of a nested function."""
    if not isinstance(value, NestedFunction):
        given = value.__defaults__ or ()
        return dict(zip(names[len(names) - len(given) :], given, strict=True))
    nodes = definition.args.defaults
    found: dict[str, object] = {}
    for name, node in zip(names[len(names) - len(nodes) :], nodes, strict=True):
        default = operand(context, node)
        if not isinstance(default, Static):
            raise context.refusal(
                Code.E0905, node, "the default of a nested function's parameter must be a constant"
            )
        found[name] = default.value
    return found


def _header(
    context: Context, value: types.FunctionType | NestedFunction, source: Source, definition: Any
) -> Context:
    """A context to look at a function's parameters in: its names, its file."""
    scope = (
        Scope(value.scope.function, definition, value.scope)
        if isinstance(value, NestedFunction)
        else Scope(value, definition)
    )
    instance = Instance(context.instance.function, scope, source, context.kind)
    return Context(context.session, instance, Memory(), Coverage())


def instance_for(
    context: Context,
    header: Context,
    value: types.FunctionType | NestedFunction,
    style: FunctionStyle,
    args: Sequence[tree.Expr],
    span: Span,
) -> Instance:
    """The instance of a function for the types of ``args``, analysed if there is none yet.

    ``header`` is a context for the function's own scope and file.
    """
    nested = isinstance(value, NestedFunction)
    scope, source, definition = header.scope, header.source, header.scope.node
    _refuse_recursion(context, definition, span)
    annotations = [
        None if annotation is None else read_annotation(header, annotation)
        for annotation in parameter_annotations(definition)
    ]
    params = [
        parameter_type(context, argument.name, annotation, expr)
        for argument, annotation, expr in zip(parameters_of(definition), annotations, args, strict=True)
    ]
    key = (id(definition) if nested else value, tuple(params), context.kind, style)
    found = None if nested else context.session.instances.get(key)
    if found is not None:
        return found
    role = tree.FunctionKind.GLOBAL if style is FunctionStyle.GLOBAL else tree.FunctionKind.PLAIN
    instance = make_instance(source, scope, context.kind, role, params, _INLINING[style])
    if style is FunctionStyle.GLOBAL:
        _check_global(header, definition, params, Label(span, "it is called here"))
    finished = analyse(context.session, instance, params, context if nested else None)
    if nested:
        for diagnostic in finished.diagnostics.found:
            context.report(diagnostic)
        _refuse_captures(context, instance, span)
    else:
        context.session.instances[key] = instance
    _check_instance(instance, style)
    return instance


def _check_instance(instance: Instance, style: FunctionStyle) -> None:
    function = instance.function
    if instance.failed:
        return
    context_span = function.span
    if style is FunctionStyle.GLOBAL and not isinstance(function.result, Int | Bool):
        instance.diagnostics.append(
            Diagnostic(
                Code.E0909,
                f"the global function `{function.name}` has to return an integer, this returns {describe(function.result)}",
                context_span,
                notes=("the kernel verifies it on its own, and takes nothing else for a result",),
                help=("return a number, or mark it with `@bpf.noinline` instead",),
            )
        )
        instance.failed = True
    elif style is FunctionStyle.GLOBAL and function.raises:
        names = ", ".join(sorted(python_name(e) for e in function.raises))
        instance.diagnostics.append(
            Diagnostic(
                Code.E0908,
                f"exceptions may leave the global function `{function.name}`: {names}",
                context_span,
                notes=("the kernel verifies it on its own, and its callers cannot be told",),
                help=("handle them with `try` inside the function",),
            )
        )
        instance.failed = True
    elif style is FunctionStyle.NEVER_INLINE and function.raises and len(function.params) > 4:
        instance.diagnostics.append(
            Diagnostic(
                Code.E0902,
                f"`{function.name}` takes 5 arguments and may raise exceptions",
                context_span,
                notes=("a subprogram that may raise needs one of the five argument registers to report it",),
                help=("handle the exceptions inside, or pass fewer arguments",),
            )
        )
        instance.failed = True


def parameter_type(
    context: Context, name: str, annotation: Annotation | None, expr: tree.Expr
) -> VariableType:
    """The type of a parameter: the annotation's, checked against the argument, or the argument's, rounded."""
    given = expr.type
    if annotation is not None and annotation.type is not None:
        return _annotated_parameter(context, name, annotation.type, expr)
    match given:
        case Int():
            rounded = widen(given)
            assert isinstance(rounded, Int)
            return rounded
        case Ref() | Maybe():
            return _from_caller(given)
        case _:
            return given


def _from_caller(kind: Ref | Maybe) -> Ref | Maybe:
    if isinstance(kind, Maybe):
        of = kind.of
        return Maybe(_local_to_caller(of)) if isinstance(of, Ref) else kind
    return _local_to_caller(kind)


def _local_to_caller(ref: Ref) -> Ref:
    origin = Origin.CALLER if ref.origin is Origin.LOCAL else ref.origin
    return Ref(ref.layout, origin, ref.shared, ref.owner)


def _annotated_parameter(context: Context, name: str, wanted: VariableType, expr: tree.Expr) -> VariableType:
    given = expr.type
    match wanted:
        case Int():
            conversions.integer(context, expr, f"an integer for `{name}`")
            return wanted
        case Bool():
            if isinstance(given, Bool):
                return wanted
        case Ref():
            if isinstance(given, Ref) and given.layout == wanted.layout:
                return _local_to_caller(given)
        case Maybe(of=Ref() as ref):
            of = given.of if isinstance(given, Maybe) else given
            if isinstance(of, Ref) and isinstance(ref, Ref) and of.layout == ref.layout:
                return Maybe(_local_to_caller(of))
        case ContextPtr():
            if isinstance(given, ContextPtr) and given.decl.context is wanted.decl.context:
                return given
        case Pointer() | User():
            if given == wanted:
                return wanted
        case Kernel():
            if isinstance(given, Kernel) and given.of is wanted.of:
                return given
    raise conversions.refuse_type(context, expr, f"{describe(wanted)} for `{name}`")


def _refuse_recursion(context: Context, definition: Any, span: Span) -> None:
    if any(active.scope.node is definition for active in context.session.active):
        raise context.refusal(
            Code.E0901,
            span,
            f"`{definition.name}` calls itself",
            notes=["the kernel's stack is small and fixed, so functions cannot be recursive"],
            help="write a loop",
        )


def _refuse_captures(context: Context, instance: Instance, span: Span) -> None:
    captured = instance.scope.captured
    if captured:
        names = ", ".join(f"`{v.name}`" for v in captured)
        raise context.refusal(
            Code.E0906,
            span,
            f"`{instance.function.name}` uses {names} of the enclosing function, and is called directly",
            notes=[
                "only callbacks, such as the body of `bpf.loop`, share variables with the enclosing function"
            ],
            help="pass the values as arguments and return the result",
        )


def _check_global(header: Context, definition: Any, params: Sequence[VariableType], call: Label) -> None:
    for argument, annotation, kind in zip(
        parameters_of(definition), parameter_annotations(definition), params, strict=True
    ):
        memory = isinstance(kind, Ref) and isinstance(kind.layout, StructType) and kind.origin in _GIVEN
        if annotation is None or not (memory or isinstance(kind, Int | ContextPtr)):
            raise header.refusal(
                Code.E0909,
                argument,
                f"the parameter `{argument.name}` of the global function `{definition.name}` needs an integer type",
                labels=[call],
                notes=["the kernel verifies a global function for all arguments of the types that it states"],
                help="annotate it, for example with `u32`",
            )


@statement("FunctionDef")
def define_nested(context: Context, node: Any) -> None:
    """``def`` inside a function: nothing happens until it is called; decorators have no meaning there."""
    if node.decorators is not None:
        raise context.refusal(
            Code.E0101, node.decorators.nodes[0], "decorators of nested functions cannot be compiled"
        )
    if context.scope.nested.get(node.name) is None or context.scope.nested[node.name].node is not node:
        raise context.refusal(
            Code.E0906,
            context.source.name_span(node),
            f"`{node.name}` is defined twice",
            help="use two names",
        )
    if node.name in context.scope.variables:
        raise context.refusal(
            Code.E0906,
            context.source.name_span(node),
            f"`{node.name}` is a variable and a function of this function",
        )
    assert context.state is not None
    context.state.known[context.scope.nested[node.name].variable] = Knowledge(NONE)
