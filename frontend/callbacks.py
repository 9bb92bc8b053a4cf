"""``bpf.loop``: the body is an ordinary or a local function that the kernel calls for each iteration.

A local function shares variables with the enclosing one. Those live in memory that both see (``Local.boxed``), and
what the body assigns is, after the loop, known by its declared type only.
"""

from __future__ import annotations

import types

from pyebpf.codes import Code
from pyebpf.declare import FunctionDecl, declaration_of
from pyebpf.diagnostics import Span
from pyebpf.frontend import conversions, tree
from pyebpf.frontend.annotations import parameter_annotations, read_annotation
from pyebpf.frontend.arguments import argument_nodes
from pyebpf.frontend.arithmetic import interval
from pyebpf.frontend.bounds import TRIPS_LIMIT
from pyebpf.frontend.coverage import Coverage
from pyebpf.frontend.expressions import operand
from pyebpf.frontend.flow import join_states
from pyebpf.frontend.instances import analyse, make_instance, parameters_of
from pyebpf.frontend.packets import packet_changed
from pyebpf.frontend.parse import Source, parse_function
from pyebpf.frontend.scope import NestedFunction, Scope
from pyebpf.frontend.session import Context, Instance, Memory, Poisoned
from pyebpf.frontend.types import Bool, Int, Maybe, NoneT, Origin, Ref
from pyebpf.frontend.values import Operand, OptionalInt, Static, VariableType, describe
from pyebpf.hints import Any

LOOP_SINCE = (5, 17)


def loop(context: Context, node: Any) -> Operand:
    """``bpf.loop(n, body[, state])``."""
    span = context.span(node)
    if context.session.target.kernel < LOOP_SINCE:
        raise context.refusal(
            Code.E0803, node, "`bpf.loop` exists since Linux 5.17", help="build for a later kernel"
        )
    nodes = argument_nodes(context, node, ("count", "body", "state"), optional=1)
    count = conversions.integer(
        context, operand(context, nodes["count"]), "an integer as the number of iterations"
    )
    kind = count.type
    assert isinstance(kind, Int)
    if kind.hi > TRIPS_LIMIT:
        raise context.refusal(
            Code.E0401,
            nodes["count"],
            f"`bpf.loop` takes at most {TRIPS_LIMIT} iterations",
            notes=["beyond that the kernel does not run it at all"],
            help=f"test the number first: `if n > {TRIPS_LIMIT}: …`",
        )
    function = callback_function(context, operand(context, nodes["body"]), context.span(nodes["body"]))
    state = operand(context, nodes["state"]) if "state" in nodes else Static(None, span)
    state_expr: tree.Expr | None = None
    if not (isinstance(state, Static) and state.value is None):
        state_expr = _state(context, state)
    body = _instance(context, function, kind, state_expr, nodes["body"], span)
    if kind.lo < 0:
        zero = tree.IntConst(value=0, type=Int(False, 0, 0), span=span)
        count = _at_least_zero(context, count, zero)
    for exception in sorted(body.function.raises, key=lambda e: e.value):
        context.raises(exception)
    result = Int(False, 0, max(0, kind.hi), seen=False)
    return tree.LoopCall(count=count, body=body.function, state=state_expr, type=result, span=span)


def _at_least_zero(context: Context, count: tree.Expr, zero: tree.Expr) -> tree.Expr:
    """``range`` of a negative number is empty, and so is this loop; the kernel would take it for a huge one."""
    kind = count.type
    assert isinstance(kind, Int)
    local = context.temporary(kind, count.span)
    bound = tree.Bind(local=local, value=count, type=kind, span=count.span)
    positive = tree.Compare(op=tree.CompareOp.GT, left=bound, right=zero, span=count.span)
    again = tree.GetLocal(local=local, type=kind, span=count.span)
    joined = Int(False, 0, max(0, kind.hi), kind.seen, kind.exact)
    return tree.Conditional(test=positive, then=again, otherwise=zero, type=joined, span=count.span)


def callback_function(context: Context, found: Operand, span: Span) -> types.FunctionType | NestedFunction:
    """The function that an argument names."""
    if isinstance(found, Static):
        declaration = declaration_of(found.value)
        if isinstance(declaration, FunctionDecl):
            return declaration.function
        if isinstance(found.value, types.FunctionType | NestedFunction):
            return found.value
    raise context.refusal(Code.E0906, span, "a callback must be a function", help="define it with `def`")


def _state(context: Context, found: Operand) -> tree.Expr:
    expr = conversions.runtime(context, found)
    if isinstance(expr.type, Maybe):
        raise conversions.refuse_optional(context, expr.span, describe(expr.type.of))
    if not isinstance(expr.type, Ref):
        raise context.refusal(
            Code.E0906,
            expr.span,
            f"the state of `bpf.loop` is {describe(expr.type)}; it must be a struct, an array or bytes",
            notes=["the body gets a reference to it, and an integer would be a copy"],
            help="put it into a struct, or let a local function assign it with `nonlocal`",
        )
    return expr


def _instance(
    context: Context,
    function: types.FunctionType | NestedFunction,
    count: Int,
    state: tree.Expr | None,
    node: Any,
    span: Span,
) -> Instance:
    scope, source = scope_of(context, function, span)
    definition = scope.node
    wanted = 1 if state is None else 2
    if len(parameters_of(definition)) != wanted:
        parts = "the index" if state is None else "the index and the state"
        raise context.refusal(
            Code.E0906,
            node,
            f"`{definition.name}` must take {wanted} parameter{'s' if wanted > 1 else ''}: {parts}",
        )
    index = Int(False, 0, max(0, count.hi - 1), seen=False)
    _check_annotations(context, source, scope, definition, index, state)
    params: list[VariableType] = [index]
    if state is not None:
        assert isinstance(state.type, Ref)
        origin = Origin.CALLER if state.type.origin is Origin.LOCAL else state.type.origin
        params.append(Ref(state.type.layout, origin, state.type.shared, state.type.owner))
    instance = make_instance(source, scope, context.kind, tree.FunctionKind.CALLBACK, params)
    return run(context, instance, params, definition, node, span)


def scope_of(
    context: Context, function: types.FunctionType | NestedFunction, span: Span
) -> tuple[Scope, Source]:
    """The scope and the file of a callback; refuses one that is being analysed already."""
    if isinstance(function, NestedFunction):
        source = function.source
        scope = Scope(function.scope.function, function.node, function.scope)
        context.coverage.mark(function.node)
    else:
        parsed = parse_function(function)
        source, scope = parsed.source, Scope(function, parsed.node)
    if any(active.scope.node is scope.node for active in context.session.active):
        raise context.refusal(Code.E0901, span, f"`{scope.node.name}` calls itself")
    return scope, source


def _check_annotations(
    context: Context, source: Source, scope: Scope, definition: Any, index: Int, state: tree.Expr | None
) -> None:
    """What the body's parameters are annotated with must hold what the kernel passes."""
    header = Context(
        context.session,
        Instance(context.instance.function, scope, source, context.kind),
        Memory(),
        Coverage(),
    )
    given = [index, None if state is None else state.type]
    for argument, node, kind in zip(
        parameters_of(definition), parameter_annotations(definition), given, strict=False
    ):
        annotation = read_annotation(header, node) if node is not None else None
        if annotation is None or annotation.type is None:
            continue
        wanted = annotation.type
        fits = (
            isinstance(wanted, Int)
            and isinstance(kind, Int)
            and wanted.lo <= kind.lo
            and kind.hi <= wanted.hi
        )
        same = isinstance(wanted, Ref) and isinstance(kind, Ref) and wanted.layout == kind.layout
        if not fits and not same:
            raise header.refusal(
                Code.E0906,
                node,
                f"`{argument.name}` gets {describe(kind)}"
                + (f" {interval(kind)}" if isinstance(kind, Int) else "")
                + ", which this annotation does not hold",
                help="annotate it with `u32`" if isinstance(kind, Int) else (),
            )


def run(
    context: Context, instance: Instance, params: list[VariableType], definition: Any, node: Any, span: Span
) -> Instance:
    """Analyse a callback in the state in which it is called, any number of times."""
    key = id(node)  # each call of it is a loop of its own
    context.state = join_states(context.state, context.memory.back_edges.get(key), loop_head=True)
    finished = analyse(context.session, instance, params, context)
    for diagnostic in finished.diagnostics.found:
        context.report(diagnostic)
    context.instance.callees.append(instance)
    _after(context, instance, key)
    if instance.failed:
        raise Poisoned
    if not isinstance(instance.function.result, Int | Bool | NoneT):
        raise context.refusal(
            Code.E0906,
            node,
            f"`{definition.name}` returns {describe(instance.function.result)}",
            help="return something true to stop the loop, false or nothing to go on",
        )
    refuse_packet_captures(context, instance, span)
    if instance.changes_packet:
        packet_changed(context, span)
    return instance


def _after(context: Context, instance: Instance, key: int) -> None:
    """What the callback assigns is known by its declared type from here on, and at its next call."""
    if context.state is None:
        return
    for variable in instance.scope.captured:
        knowledge = context.state.known.get(variable)
        if (
            variable.name in instance.scope.written
            and knowledge is not None
            and isinstance(variable.declared, Int | OptionalInt)
            and variable.declared != knowledge.type
        ):
            context.state.narrow(variable, variable.declared)
    before, now = context.memory.back_edges.get(key), context.state.remembered()
    if before is None or before.known != now.known:
        context.memory.back_edges[key] = join_states(before, now, loop_head=True)
        joined = context.memory.back_edges[key]
        if before is None or joined is None or joined.known != before.known:
            context.memory.changed = True


def refuse_packet_captures(context: Context, instance: Instance, span: Span) -> None:
    """Refuse a callback that uses references which the kernel cannot follow into it."""
    for variable in instance.scope.captured:
        of = variable.declared.of if isinstance(variable.declared, Maybe) else variable.declared
        if isinstance(of, Ref) and of.origin in (Origin.PACKET, Origin.RECORD):
            raise context.refusal(
                Code.E0906,
                span,
                f"`{instance.function.name}` uses `{variable.name}`, which refers to {of.origin.value} memory",
                notes=["the kernel does not know in a callback what was checked outside of it"],
                help="read what is needed before the loop",
            )
