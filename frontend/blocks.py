"""The statement dispatcher.

``block`` analyses a list of statements. A statement that is refused is reported, what it would have assigned is
poisoned, and the analysis goes on, so that all errors of a function come in one go.
"""

from __future__ import annotations

from collections.abc import Callable

from pyebpf.frontend import tree
from pyebpf.frontend.expressions import refuse_construct
from pyebpf.frontend.flow import Knowledge, State
from pyebpf.frontend.resources import check_not_dropped
from pyebpf.frontend.session import Context, Poisoned, Refused
from pyebpf.frontend.types import NONE
from pyebpf.hints import Any

Handler = Callable[[Context, Any], None]


_HANDLERS: dict[str, Handler] = {}


def statement(name: str) -> Callable[[Handler], Handler]:
    """Register the handler of an astroid class."""

    def register(handler: Handler) -> Handler:
        _HANDLERS[name] = handler
        return handler

    return register


def block(context: Context, nodes: list[Any]) -> tree.Body:
    """Analyse statements in order; the rest after one that does not go on is not analysed."""
    with context.collecting() as out:
        for position, node in enumerate(nodes):
            if context.state is None:
                context.coverage.skip(node)
                continue
            following = nodes[position + 1] if position + 1 < len(nodes) else None
            _statement(context, node, following)
    return tuple(out)


def _statement(context: Context, node: Any, following: Any) -> None:
    before = context.state
    try:
        context.coverage.mark(node)
        handler = _HANDLERS.get(type(node).__name__)
        if handler is None:
            raise refuse_construct(context, node)
        context.following = following
        handler(context, node)
        if context.acquired:
            raise check_not_dropped(context, context.acquired.pop())
    except Refused as refused:
        context.report(refused.diagnostic)
        poison(context, node, before)
    except Poisoned:
        context.poisoned = True
        poison(context, node, before)


def poison(context: Context, node: Any, before: State | None) -> None:
    """What a refused statement would have assigned is unknown, and the rest of it need not be looked at."""
    context.coverage.skip(node)
    if type(node).__name__ in ("Return", "Raise"):
        context.state = None
        return
    if context.state is None:
        context.state = before
    if context.state is None:
        return
    work = [node]
    while work:
        found = work.pop()
        if type(found).__name__ == "AssignName":
            variable = context.scope.variable(found.name)
            if variable is not None:
                context.state.known[variable] = Knowledge(variable.declared or NONE, poisoned=True)
        work.extend(found.get_children())
