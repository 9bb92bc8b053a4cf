"""References to kernel objects that a program must give back: sockets that helpers look up.

The rule is linear and simple: what a helper acquires is held by the variable that it is assigned to; it must be
passed to the releasing helper on every path on which it is not None, and is dead afterwards.
"""

from __future__ import annotations

from pyebpf.codes import Code
from pyebpf.diagnostics import Label, Span
from pyebpf.frontend import tree
from pyebpf.frontend.expressions import variable_of
from pyebpf.frontend.flow import Fate, Variable
from pyebpf.frontend.session import Context, Refused
from pyebpf.frontend.types import NoneT
from pyebpf.records import replace


def refuse_lost(context: Context, variable: Variable, acquired: Span) -> Refused:
    """Refuse to overwrite the only name of a reference that is still to be released."""
    return context.refusal(
        Code.E0809,
        acquired,
        f"`{variable.name}` is assigned again before what it refers to has been released",
        help="release it first, for example with `bpf.sk_release(…)`",
    )


def acquire(context: Context, variable: Variable, span: Span) -> None:
    """Note that the variable holds a reference that must be released."""
    assert context.state is not None
    context.state.known[variable] = replace(context.state.known[variable], acquired=span)


def release(context: Context, argument: tree.Expr, span: Span) -> None:
    """Note that the reference in ``argument`` has been given back."""
    variable = variable_of(context, argument)
    if variable is None or context.state is None:
        return
    knowledge = context.state.known[variable]
    context.state.known[variable] = replace(knowledge, acquired=None, fate=Fate.RELEASED, fate_span=span)


def check_released(context: Context) -> None:
    """Refuse to leave the function while a reference is held."""
    if context.state is None:
        return
    for variable, knowledge in context.state.known.items():
        if (
            knowledge.acquired is None
            or isinstance(knowledge.type, NoneT)
            or not context.scope.owns(variable)
        ):
            continue
        context.report(
            context.diagnostic(
                Code.E0809,
                knowledge.acquired,
                f"`{variable.name}` is not released on every path",
                labels=[Label(variable.span, "it is held by this variable")],
                notes=["the kernel object would stay in use for ever"],
                help="release it before every `return`, for example with `bpf.sk_release(…)`",
            )
        )


def check_not_dropped(context: Context, call: tree.HelperCall) -> Refused:
    """Refuse a call that acquires a reference which no variable holds."""
    return context.refusal(
        Code.E0809,
        call.span,
        f"what `{call.helper.name}` returns must be released, so it must be assigned to a variable",
        help=f"write `found = bpf.{call.helper.name}(…)`, and release `found`",
    )
