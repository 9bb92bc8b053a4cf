"""What a function returns: ``return`` statements, their common type, and ends without one."""

from __future__ import annotations

from pyebpf.codes import Code
from pyebpf.declare import ProgramDecl
from pyebpf.diagnostics import Label, Span
from pyebpf.frontend import conversions, tree
from pyebpf.frontend.annotations import Annotation, read_annotation
from pyebpf.frontend.blocks import statement
from pyebpf.frontend.expressions import operand
from pyebpf.frontend.flow import join_states
from pyebpf.frontend.resources import check_released
from pyebpf.frontend.session import Context, Refused, origin_of
from pyebpf.frontend.tailcalls import tail_call
from pyebpf.frontend.types import BOOL, NONE, Bool, ContextPtr, Int, Maybe, NoneT, Origin, Ref
from pyebpf.frontend.values import Mismatch, Operand, OptionalInt, Static, VariableType, describe, join, widen
from pyebpf.hints import Any


def joined_result(context: Context) -> VariableType | None:
    result: VariableType | None = None
    for found, span in context.results:
        try:
            result = found if result is None else join(result, found)
            of = result.of if isinstance(result, Maybe) else result
            if isinstance(of, Ref) and of.origin is Origin.MIXED:
                raise Mismatch(context.results[0][0], found, origins=True)
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
            if mismatch.origins:
                result = context.results[0][0]
                words = (
                    f"{origin_of(mismatch.left)} memory in one place and {origin_of(mismatch.right)} memory"
                )
                context.report(
                    context.diagnostic(
                        Code.E0504,
                        span,
                        f"this function returns {words} here",
                        labels=[Label(first[1], origin_of(first[0]))],
                        notes=[_NOT_RETURNED[Origin.MIXED][1]],
                        help="return copies: `bpf.copy(…)`",
                    )
                )
                continue
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


def falls_off(context: Context) -> tuple[tree.Stmt, ...]:
    """The end of the body is reached without a ``return``: what the function ends with then."""
    check_released(context)
    if context.instance.function.kind is tree.FunctionKind.CALLBACK:
        last = context.span(context.scope.node.body[-1])
        return (_callback_goes_on(context, last),)
    span = context.source.name_span(context.scope.node)
    finishes = [(kind, at) for kind, at in context.results if not isinstance(kind, NoneT)]
    entry = context.instance.function.kind is tree.FunctionKind.ENTRY
    if entry and context.kind.watches and not finishes:
        context.results.append((NONE, span))
        return ()
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
        return ()
    try:
        _refuse_untrue_none(context, span)
    except Refused as refused:
        context.report(refused.diagnostic)
    context.results.append((NONE, span))
    return ()


@statement("Return")
def return_value(context: Context, node: Any) -> None:
    """``return``, with the value in the function's result type."""
    if node.value is not None and tail_call(context, node):
        leave(context)
        return
    span = context.span(node)
    entry = context.instance.function.kind is tree.FunctionKind.ENTRY
    found: Operand = Static(None, span) if node.value is None else operand(context, node.value)
    if isinstance(found, Static) and found.value is None:
        if entry and not context.kind.watches:
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
        _check_verdict(context, expr)
    _check_result(context, expr)
    expr = _as_stated(context, expr)
    kind = expr.type
    assert not isinstance(kind, NoneT)
    context.results.append((kind, context.span(node.value)))
    wanted = context.result
    if wanted is not None and not isinstance(wanted, OptionalInt):
        expr = conversions.to_variable(context, expr, wanted)
    context.out.append(tree.Return(value=expr, span=span))
    leave(context)


def _check_verdict(context: Context, expr: tree.Expr) -> None:
    """Refuse a result that the kernel does not take from programs of this type, or does not see to be one."""
    allowed = context.kind.return_range
    kind = expr.type
    if allowed is None or not isinstance(kind, Int):
        return
    lo, hi = allowed
    if lo <= kind.lo and kind.hi <= hi and kind.seen:
        return
    constant = isinstance(expr, tree.IntConst)
    raise context.refusal(
        Code.E1206,
        expr.span,
        f"programs of type {context.kind.name} return {_words(lo, hi)}, "
        + (f"not {kind.lo}" if constant else "and this may be something else"),
        help="return a constant"
        if constant or lo == hi
        else "test it first, or return one of several constants",
    )


def _words(lo: int, hi: int) -> str:
    return str(lo) if lo == hi else f"from {lo} to {hi}"


def error_verdict(header: Context, decl: ProgramDecl) -> int:
    """What a program ends with after an error that nobody handles. Refuses what the kernel does not take."""
    if decl.on_error is None:
        return decl.kind.error_verdict
    lo, hi = decl.kind.return_range or (decl.on_error, decl.on_error)
    if not lo <= decl.on_error <= hi:
        raise header.refusal(
            Code.E1206,
            header.instance.function.span,
            f"programs of type {decl.kind.name} return {_words(lo, hi)}, also after an error",
            label=f"`on_error` is {decl.on_error}",
            help="leave `on_error` out, or give a result that is allowed",
        )
    return decl.on_error


def _callback_goes_on(context: Context, span: Span) -> tree.Return:
    """A callback that returns nothing goes on, as one that returns False does."""
    context.results.append((BOOL, span))
    no: tree.Expr = tree.IntConst(value=0, type=BOOL, span=span)
    if isinstance(context.result, Int):
        no = conversions.to_variable(context, no, context.result)
    return tree.Return(value=no, span=span)


def _return_none(context: Context, span: Span) -> None:
    if context.instance.function.kind is tree.FunctionKind.CALLBACK:
        context.out.append(_callback_goes_on(context, span))
        leave(context)
        return
    if any(isinstance(kind, Int | Bool) for kind, _ in context.results):
        raise context.refusal(
            Code.E0912,
            span,
            "a function cannot return an integer on one path and `None` on another",
            help="return a number that means “none”, or raise an exception",
        )
    context.results.append((NONE, span))
    _refuse_untrue_none(context, span)
    wanted = context.result
    value = tree.NullConst(type=wanted, span=span) if isinstance(wanted, Maybe) else None
    context.out.append(tree.Return(value=value, span=span))
    leave(context)


def _stated(context: Context) -> Annotation | None:
    """What the function's annotation says of its result."""
    returns = context.scope.node.returns
    return None if returns is None else read_annotation(context, returns)


def _as_stated(context: Context, expr: tree.Expr) -> tree.Expr:
    """The result as the annotation wants it: integers keep the low bits, as in any assignment; else it must be true."""
    stated = _stated(context)
    if stated is None or stated.type is None:
        return expr
    given, wanted = expr.type, stated.type
    if stated.layout is not None and isinstance(given, Int | Bool):
        return conversions.wrap(conversions.integer(context, expr), stated.layout)
    given_ref = given.of if isinstance(given, Maybe) and isinstance(wanted, Maybe) else given
    wanted_ref = wanted.of if isinstance(wanted, Maybe) else wanted
    same = (
        isinstance(given_ref, Ref) and isinstance(wanted_ref, Ref) and given_ref.layout == wanted_ref.layout
    )
    callback = context.instance.function.kind is tree.FunctionKind.CALLBACK  # tested for truth only
    if same or (
        isinstance(wanted, Bool) and (isinstance(given, Bool) or (callback and isinstance(given, Int)))
    ):
        return expr
    raise context.refusal(
        Code.E0301,
        expr.span,
        f"this returns {describe(given)}, the annotation says {describe(wanted)}",
        help="change the annotation, or convert the value",
    )


def _refuse_untrue_none(context: Context, span: Span) -> None:
    """A function that gives nothing must not be annotated with something."""
    stated = _stated(context)
    if stated is not None and not isinstance(stated.type, NoneT | Maybe | OptionalInt):
        raise context.refusal(
            Code.E0301,
            span,
            "this returns `None`, the annotation says something else",
            help="write `-> None`, or return a value",
        )


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
    if isinstance(kind, Ref) and kind.origin in _NOT_RETURNED:
        words, note = _NOT_RETURNED[kind.origin]
        raise context.refusal(
            Code.E0504,
            expr.span,
            f"a function cannot return a reference to {words}",
            notes=[note],
            help="return a copy: `bpf.copy(…)`",
        )


_NOT_RETURNED = {
    Origin.CALLER: ("a parameter of it", "the caller has that object already"),
    Origin.RECORD: ("a ring buffer record", "it is submitted at the end"),
    Origin.MIXED: (
        "what may be an object of its own or another",
        "an object of its own is built in the caller's memory",
    ),
}


def leave(context: Context) -> None:
    """Control leaves the function here: every open ``finally`` runs on the way."""
    for frame in context.errors[1:]:
        frame.finals = join_states(frame.finals, context.state)
    check_released(context)
    context.state = None
