"""Functions that programs call: instances for argument types, the fixpoint over their variables, returns.

A Python function is analysed once for each combination of argument types (rounded, so that there are few) and
program type. One analysis runs rounds over the body until the types of the variables, which every assignment
may widen, are stable; the tree of the last round is the result, and only its diagnostics count.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

from pyebpf.codes import Code
from pyebpf.declare import FunctionStyle
from pyebpf.diagnostics import Label, Span
from pyebpf.frontend import conversions, tree
from pyebpf.frontend.annotations import annotate_variables, read_annotation
from pyebpf.frontend.arguments import argument_nodes
from pyebpf.frontend.conversions import scalar_type
from pyebpf.frontend.coverage import Coverage
from pyebpf.frontend.expressions import operand
from pyebpf.frontend.flow import Knowledge, State, join_states
from pyebpf.frontend.packets import packet_changed
from pyebpf.frontend.parse import Source, parse_function
from pyebpf.frontend.scope import NestedFunction, Scope, bind_names
from pyebpf.frontend.session import Context, Instance, Memory, Poisoned, Refused, Session, local_type
from pyebpf.frontend.types import NONE, Bool, ContextPtr, Int, Maybe, NoneT, Origin, Pointer, Ref, Type
from pyebpf.frontend.values import Mismatch, Operand, OptionalInt, Static, VariableType, describe, join, widen
from pyebpf.ir.ops import Inlining
from pyebpf.uapi.programs import ProgramKind

_ROUNDS = 60
_INLINING = {
    FunctionStyle.PLAIN: Inlining.AUTO,
    FunctionStyle.ALWAYS_INLINE: Inlining.ALWAYS,
    FunctionStyle.NEVER_INLINE: Inlining.NEVER,
    FunctionStyle.GLOBAL: Inlining.NEVER,
}


# ---------------------------------------------------------------- instances


def make_instance(
    source: Source,
    scope: Scope,
    kind: ProgramKind,
    role: tree.FunctionKind,
    params: Sequence[VariableType],
    inlining: Inlining = Inlining.AUTO,
) -> Instance:
    """An instance that is still to be analysed, with its parameters as locals."""
    bind_names(scope, source)
    names = [argument.name for argument in parameters_of(scope.node)]
    locals_ = []
    for name, of in zip(names, params, strict=True):
        variable = scope.variables[name]
        variable.declared = of
        variable.local.type = local_type(of)
        locals_.append(variable.local)
    function = tree.Function(
        name=scope.node.name,
        kind=role,
        params=tuple(locals_),
        result=NONE,
        inlining=inlining,
        program_kind=kind,
        span=source.name_span(scope.node),
    )
    return Instance(function, scope, source, kind)


def parameters_of(node: Any) -> list[Any]:
    """The parameters of a function that can be given by position."""
    return [*node.args.posonlyargs, *(node.args.args or ())]


def analyse(
    session: Session, instance: Instance, params: Sequence[VariableType], parent: Context | None = None
) -> Context:
    """Run rounds over an instance until nothing changes; fills its tree function and diagnostics."""
    memory = Memory()
    session.active.append(instance)
    try:
        context = _settle(session, instance, params, memory, None, parent)
        context = _sharpen(session, instance, params, memory, context, parent)
    finally:
        session.active.pop()
    _finish(context, instance, parent)
    return context


def _settle(
    session: Session,
    instance: Instance,
    params: Sequence[VariableType],
    memory: Memory,
    result: VariableType | None,
    parent: Context | None,
) -> Context:
    for _ in range(_ROUNDS):
        context = _round(session, instance, params, memory, result, parent)
        found = _joined_result(context)
        if not memory.changed and found == result:
            return context
        result = found
    raise context.bug("the types of the variables do not settle", instance.function.span)


def _sharpen(
    session: Session,
    instance: Instance,
    params: Sequence[VariableType],
    memory: Memory,
    context: Context,
    parent: Context | None,
) -> Context:
    """Widening overshoots: try the intervals that were really seen, and keep them if they hold."""
    variables = [v for v in instance.scope.variables.values() if isinstance(v.declared, Int | OptionalInt)]
    parameters = set(instance.function.params)
    wide = {v: v.declared for v in variables}
    edges = dict(memory.back_edges)
    for variable in variables:
        if variable.observed is not None and variable.local not in parameters:
            variable.declared = variable.observed
    if all(v.declared == wide[v] for v in variables):
        return context
    memory.back_edges.clear()
    for _ in range(3):
        sharper = _round(session, instance, params, memory, context.result, parent)
        if any(not _within(v.declared, wide[v]) for v in variables):
            break
        if not memory.changed and _joined_result(sharper) == context.result:
            return sharper
    for variable in variables:
        variable.declared = wide[variable]
    memory.back_edges = edges
    return _settle(session, instance, params, memory, context.result, parent)


def _within(kind: VariableType | None, limit: VariableType | None) -> bool:
    one = kind.of if isinstance(kind, OptionalInt) else kind
    two = limit.of if isinstance(limit, OptionalInt) else limit
    return isinstance(one, Int) and isinstance(two, Int) and two.lo <= one.lo and one.hi <= two.hi


def _round(
    session: Session,
    instance: Instance,
    params: Sequence[VariableType],
    memory: Memory,
    result: VariableType | None,
    parent: Context | None,
) -> Context:
    from pyebpf.frontend.statements import block

    memory.changed = False
    instance.callees.clear()
    instance.maps.clear()
    instance.globals.clear()
    instance.changes_packet = False
    coverage = Coverage() if parent is None else parent.coverage
    context = Context(session, instance, memory, coverage, parent, result=result)
    context.state = State()
    if parent is not None and parent.state is not None:
        context.state.known.update(parent.state.known)
    scope = instance.scope
    for variable in scope.variables.values():
        variable.observed = None
    for node, of in zip(parameters_of(scope.node), params, strict=True):
        variable = scope.variables[node.name]
        variable.observed = of
        context.state.known[variable] = Knowledge(of)
        coverage.mark(node)
    try:
        check_header(context, scope.node)
        annotate_variables(context)
    except Refused as refused:
        context.report(refused.diagnostic)
        coverage.skip(scope.node.args)
        context.poisoned = True
        return context
    instance.function.body = block(context, scope.node.body)
    if context.state is not None:
        _falls_off(context)
    return context


def check_header(context: Context, node: Any) -> None:
    """Refuse parameters that programs cannot have, and look at annotations and decorators."""
    args = node.args
    for name, words in (("vararg", "`*`"), ("kwarg", "`**`")):
        if getattr(args, name) is not None:
            raise context.refusal(
                Code.E0905,
                context.source.name_span(node),
                f"`{node.name}` has a `{words[1:-1]}{getattr(args, name)}` parameter",
                notes=["the number of parameters of a compiled function is fixed"],
            )
    if args.kwonlyargs:
        raise context.refusal(Code.E0905, args.kwonlyargs[0], "keyword-only parameters cannot be compiled")
    if getattr(node, "type_params", None):
        raise context.refusal(Code.E0101, node.type_params[0], "type parameters cannot be compiled")
    for annotation in (*args.annotations, *args.posonlyargs_annotations, node.returns):
        if annotation is not None:
            read_annotation(context, annotation)
            context.coverage.skip(annotation)
    if context.parent is None:
        for default in args.defaults:
            context.coverage.skip(default)  # Python has computed it at the definition


def _finish(context: Context, instance: Instance, parent: Context | None) -> None:
    function = instance.function
    for variable in instance.scope.variables.values():
        variable.local.type = local_type(variable.declared) if variable.declared is not None else NONE
    function.raises = frozenset(context.errors[0].raised)
    result = _joined_result(context)
    assert not isinstance(result, OptionalInt)
    function.result = NONE if result is None else result
    function.captures = tuple(v.local for v in instance.scope.captured)
    if parent is None:
        for node in context.coverage.unseen(instance.scope.node):
            _report_unseen(context, node)
    instance.diagnostics = list(context.diagnostics.found)
    instance.failed = bool(instance.diagnostics) or context.poisoned
    instance.done = True


def _report_unseen(context: Context, node: Any) -> None:
    """What no visitor has looked at is refused: nothing is ever ignored."""
    from pyebpf.frontend.expressions import refuse_construct

    if context.diagnostics.found or context.poisoned:
        return
    try:
        refuse_construct(context, node, where=" here")
    except Refused as refused:
        context.report(refused.diagnostic)


# ---------------------------------------------------------------- results


def _joined_result(context: Context) -> VariableType | None:
    result: VariableType | None = None
    for found, span in context.results:
        try:
            result = found if result is None else join(result, found)
        except Mismatch as mismatch:
            if mismatch.mixed_sign:
                context.report(
                    context.diagnostic(
                        Code.E0303,
                        span,
                        "the results of this function are `u64` in one place and may be negative in another",
                        help="convert with `i64(…)` or `u64(…)`",
                    )
                )
                continue
            first = context.results[0]
            if isinstance(found, NoneT) or isinstance(result, NoneT):
                continue  # reported as a missing return value
            context.report(
                context.diagnostic(
                    Code.E0305,
                    span,
                    f"this returns {describe(mismatch.right)}, another `return` returns {describe(mismatch.left)}",
                    labels=[Label(first[1], describe(first[0]))],
                    notes=["a function has one type of result"],
                )
            )
    if result is None or context.instance.function.kind is tree.FunctionKind.ENTRY:
        return result
    # Rounded, so that rounds settle.
    return widen(result) if context.result is not None and result != context.result else result


def _falls_off(context: Context) -> None:
    """The end of the body is reached without a ``return``."""
    span = context.source.name_span(context.scope.node)
    finishes = [(kind, at) for kind, at in context.results if not isinstance(kind, NoneT)]
    entry = context.instance.function.kind is tree.FunctionKind.ENTRY
    if entry or finishes:
        last = context.scope.node.body[-1]
        context.report(
            context.diagnostic(
                Code.E0403,
                span,
                f"`{context.scope.node.name}` may end without `return`",
                labels=[Label(context.span(last), "after this the function ends")],
                notes=[
                    "a program has to return a verdict"
                    if entry
                    else "a function returns a value on every path, or on none"
                ],
                help="add a `return` at the end",
            )
        )
        return
    context.results.append((NONE, span))


def return_value(context: Context, node: Any) -> None:
    """``return``, with the value in the function's result type."""
    from pyebpf.frontend.tailcalls import tail_call

    if node.value is not None and tail_call(context, node):
        leave(context)
        return
    span = context.span(node)
    entry = context.instance.function.kind is tree.FunctionKind.ENTRY
    found: Operand = Static(None, span) if node.value is None else operand(context, node.value)
    if isinstance(found, Static) and found.value is None:
        if entry:
            raise context.refusal(
                Code.E0403,
                node,
                "a program has to return a verdict",
                help="return an integer, such as `bpf.XDP_PASS`",
            )
        _return_none(context, span)
        return
    expr = conversions.runtime(context, found)
    if entry:
        expr = conversions.integer(context, expr, "an integer as the verdict")
    _check_result(context, expr)
    kind = expr.type
    assert not isinstance(kind, NoneT)
    context.results.append((kind, context.span(node.value)))
    wanted = context.result
    if wanted is not None and not isinstance(wanted, OptionalInt):
        expr = conversions.to_variable(context, expr, wanted)
    context.out.append(tree.Return(value=expr, span=span))
    leave(context)


def _return_none(context: Context, span: Span) -> None:
    context.results.append((NONE, span))
    if any(isinstance(kind, Int | Bool) for kind, _ in context.results):
        raise context.refusal(
            Code.E0912,
            span,
            "a function cannot return an integer on one path and `None` on another",
            help="return a number that means “none”, or raise an exception",
        )
    wanted = context.result
    value = tree.NullConst(type=wanted, span=span) if isinstance(wanted, Maybe) else None
    context.out.append(tree.Return(value=value, span=span))
    leave(context)


def _check_result(context: Context, expr: tree.Expr) -> None:
    kind = expr.type.of if isinstance(expr.type, Maybe) else expr.type
    if any(isinstance(found, NoneT) for found, _ in context.results) and isinstance(kind, Int | Bool):
        raise context.refusal(
            Code.E0912,
            expr.span,
            "a function cannot return an integer on one path and `None` on another",
            help="return a number that means “none”, or raise an exception",
        )
    if isinstance(kind, NoneT):
        raise context.refusal(Code.E0301, expr.span, "this has no value that could be returned")
    if isinstance(kind, ContextPtr):
        raise context.refusal(Code.E0504, expr.span, "the context cannot be returned")
    if isinstance(kind, Ref) and kind.origin in (Origin.CALLER, Origin.RECORD):
        words = "a parameter of it" if kind.origin is Origin.CALLER else "a ring buffer record"
        raise context.refusal(
            Code.E0504,
            expr.span,
            f"a function cannot return a reference to {words}",
            notes=[
                "the caller has that object already"
                if kind.origin is Origin.CALLER
                else "it is submitted at the end"
            ],
            help="return a copy: `bpf.copy(…)`",
        )


def leave(context: Context) -> None:
    """Control leaves the function here: every open ``finally`` runs on the way."""
    for frame in context.errors[1:]:
        frame.finals = join_states(frame.finals, context.state)
    from pyebpf.frontend.resources import check_released

    check_released(context)
    context.state = None


# ---------------------------------------------------------------- calls


def call_plain(context: Context, value: types.FunctionType | NestedFunction, node: Any) -> Operand:
    """A call of an undecorated function."""
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
    names = [argument.name for argument in parameters_of(definition)]
    defaults = _defaults(context, value, definition, names)
    nodes = argument_nodes(context, node, names, optional=len(defaults))
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
    instance = instance_for(context, value, style, source, definition, args, span)
    context.instance.callees.append(instance)
    if instance.failed:
        raise Poisoned
    return _call_expr(context, instance, args, span)


def _argument(context: Context, found: Operand) -> tree.Expr:
    expr = conversions.runtime(context, found)
    if isinstance(expr.type, NoneT):
        conversions.refuse_type(context, expr, "a value")
    return expr


def _call_expr(context: Context, instance: Instance, args: list[tree.Expr], span: Span) -> tree.Expr:
    function = instance.function
    converted = [_as_parameter(expr, local.type) for expr, local in zip(args, function.params, strict=True)]
    for exception in sorted(function.raises, key=lambda e: e.value):
        context.raises(exception)
    result = function.result
    expr = tree.FunctionCall(function=function, args=tuple(converted), type=result, span=span)
    if instance.changes_packet:
        packet_changed(context, span)
    return expr


def _as_parameter(expr: tree.Expr, wanted: Type) -> tree.Expr:
    from pyebpf.frontend.arithmetic import as_kind, reinterpret

    if isinstance(wanted, Int):
        number = conversions.to_int(expr) if isinstance(expr.type, Bool) else expr
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


def instance_for(
    context: Context,
    value: types.FunctionType | NestedFunction,
    style: FunctionStyle,
    source: Source,
    definition: Any,
    args: Sequence[tree.Expr],
    span: Span,
) -> Instance:
    """The instance of a function for the types of ``args``, analysed if there is none yet."""
    nested = isinstance(value, NestedFunction)
    _refuse_recursion(context, definition, span)
    scope = (
        Scope(value.scope.function, definition, value.scope)
        if isinstance(value, NestedFunction)
        else Scope(value, definition)
    )
    header = Context(
        context.session,
        Instance(context.instance.function, scope, source, context.kind),
        Memory(),
        Coverage(),
    )
    params = [
        parameter_type(context, header, argument, annotation, expr)
        for argument, annotation, expr in zip(
            parameters_of(definition), _annotations(definition), args, strict=True
        )
    ]
    key = (id(definition) if nested else value, tuple(params), context.kind, style)
    found = None if nested else context.session.instances.get(key)
    if found is not None:
        return found
    role = tree.FunctionKind.GLOBAL if style is FunctionStyle.GLOBAL else tree.FunctionKind.PLAIN
    instance = make_instance(source, scope, context.kind, role, params, _INLINING[style])
    if style is FunctionStyle.GLOBAL:
        _check_global(context, definition, params, span)
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
    from pyebpf.diagnostics import Diagnostic

    if style is FunctionStyle.GLOBAL and function.raises:
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


def python_name(exception: tree.Exc) -> str:
    """The name of Python's class."""
    return _PYTHON_NAMES[exception].__name__


_PYTHON_NAMES: dict[tree.Exc, type[Exception]] = {
    tree.Exc.EXCEPTION: Exception,
    tree.Exc.ARITHMETIC: ArithmeticError,
    tree.Exc.ZERO_DIVISION: ZeroDivisionError,
    tree.Exc.LOOKUP: LookupError,
    tree.Exc.INDEX: IndexError,
    tree.Exc.KEY: KeyError,
    tree.Exc.OS: OSError,
    tree.Exc.ASSERTION: AssertionError,
    tree.Exc.REFERENCE: ReferenceError,
    tree.Exc.MEMORY: MemoryError,
    tree.Exc.VALUE: ValueError,
    tree.Exc.RUNTIME: RuntimeError,
    tree.Exc.OVERFLOW: OverflowError,
}
EXCEPTIONS = {cls: exception for exception, cls in _PYTHON_NAMES.items()}


def _annotations(definition: Any) -> list[Any]:
    args = definition.args
    return [*args.posonlyargs_annotations, *args.annotations]


def parameter_type(
    context: Context, header: Context, argument: Any, annotation: Any, expr: tree.Expr
) -> VariableType:
    """The type of a parameter: the annotation's, checked against the argument, or the argument's, rounded."""
    given = expr.type
    if annotation is not None:
        wanted = read_annotation(header, annotation)
        if wanted.type is not None:
            return _annotated_parameter(context, argument, wanted.type, expr)
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


def _annotated_parameter(
    context: Context, argument: Any, wanted: VariableType, expr: tree.Expr
) -> VariableType:
    given = expr.type
    match wanted:
        case Int():
            conversions.integer(context, expr, f"an integer for `{argument.name}`")
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
        case Pointer():
            if given == wanted:
                return wanted
    conversions.refuse_type(context, expr, f"{describe(wanted)} for `{argument.name}`")


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
    captured = [v for v in instance.scope.captured]
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


def _check_global(context: Context, definition: Any, params: Sequence[VariableType], span: Span) -> None:
    for argument, annotation, kind in zip(
        parameters_of(definition), _annotations(definition), params, strict=True
    ):
        if annotation is None or not isinstance(kind, Int | ContextPtr):
            raise context.refusal(
                Code.E0909,
                span,
                f"the parameter `{argument.name}` of the global function `{definition.name}` needs an integer type",
                notes=["the kernel verifies a global function for all arguments of the types that it states"],
                help="annotate it, for example with `u32`",
            )


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
