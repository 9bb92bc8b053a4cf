"""The analysis of one function for given parameter types: rounds over its body until the types are stable.

Each round starts from the types that the rounds before have found for the variables, which every assignment may
widen. The tree of the last round is the result, and only its diagnostics count.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyebpf.codes import Code
from pyebpf.frontend import tree
from pyebpf.frontend.annotations import annotate_variables, read_annotation
from pyebpf.frontend.big_locals import decide_scratch
from pyebpf.frontend.blocks import block
from pyebpf.frontend.coverage import Coverage
from pyebpf.frontend.expressions import refuse_construct
from pyebpf.frontend.flow import Knowledge, State
from pyebpf.frontend.parse import Source
from pyebpf.frontend.results import falls_off, joined_result
from pyebpf.frontend.scope import Scope, bind_names
from pyebpf.frontend.session import Context, Instance, Memory, Refused, Session, local_type
from pyebpf.frontend.types import NONE, Int
from pyebpf.frontend.values import OptionalInt, VariableType
from pyebpf.hints import Any
from pyebpf.ir.ops import Inlining
from pyebpf.uapi.programs import ProgramKind

_ROUNDS = 60


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
    locals_: list[tree.Local] = []
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
        found = joined_result(context)
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
        if not memory.changed and joined_result(sharper) == context.result:
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
        check_parameters(context, scope.node)
        _look_at_header(context, scope.node)
        annotate_variables(context)
    except Refused as refused:
        context.report(refused.diagnostic)
        coverage.skip(scope.node.args)
        context.poisoned = True
        return context
    instance.function.body = (*instance.prologue, *block(context, scope.node.body))
    if context.state is not None:
        instance.function.body += falls_off(context)
    return context


def check_parameters(context: Context, node: Any) -> None:
    """Refuse kinds of parameters that compiled functions cannot have."""
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


def _look_at_header(context: Context, node: Any) -> None:
    """Annotations must mean something; defaults have been computed by Python at the definition."""
    args = node.args
    for annotation in (*args.annotations, *args.posonlyargs_annotations, node.returns):
        if annotation is not None:
            read_annotation(context, annotation)
            context.coverage.skip(annotation)
    if context.parent is None:
        for default in args.defaults:
            context.coverage.skip(default)


def _finish(context: Context, instance: Instance, parent: Context | None) -> None:
    function = instance.function
    for variable in instance.scope.variables.values():
        variable.local.type = local_type(variable.declared) if variable.declared is not None else NONE
    result = joined_result(context)
    assert not isinstance(result, OptionalInt)
    function.result = NONE if result is None else result
    decide_scratch(context, function)
    function.raises = frozenset(context.errors[0].raised)
    function.captures = tuple(v.local for v in instance.scope.captured)
    if parent is None:
        for node in context.coverage.unseen(instance.scope.node):
            _report_unseen(context, node)
    instance.diagnostics = list(context.diagnostics.found)
    instance.failed = bool(instance.diagnostics) or context.poisoned
    instance.done = True


def _enclosing(node: Any) -> Any:
    """The innermost function that a node is in."""
    while type(node).__name__ != "FunctionDef":
        node = node.parent
    return node


def _report_unseen(context: Context, node: Any) -> None:
    """What no visitor has looked at is refused: nothing is ever ignored."""
    if context.diagnostics.found or context.poisoned:
        return
    around = node
    while around is not context.scope.node:
        if type(around).__name__ == "FunctionDef":
            context.report(
                context.diagnostic(
                    Code.E0906,
                    context.source.name_span(around),
                    f"`{around.name}` is never called",
                    notes=["what is not called is not compiled, and could hide mistakes"],
                    help="remove it",
                )
            )
            return
        around = around.parent
    try:
        definition = _enclosing(node)
        if definition is not context.scope.node:
            raise context.refusal(
                Code.E0906,
                context.source.name_span(definition),
                f"`{definition.name}` is never called",
                notes=["a function is compiled for the types that it is called with"],
                help="take it out, or call it",
            )
        raise refuse_construct(context, node, where=" here")
    except Refused as refused:
        context.report(refused.diagnostic)
