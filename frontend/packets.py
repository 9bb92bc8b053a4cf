"""What happens to references into the packet when the packet is changed: they die, and their use is refused.

The kernel forgets what it knew of packet pointers at every helper that may move or change the packet. A loop or a
called function that does so counts as well: ``State`` at a loop head joins what the last iteration left. Within one
statement, a view that is evaluated before a change and used behind it is found by ``refuse_stale``.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyebpf.codes import Code
from pyebpf.diagnostics import Label, Span
from pyebpf.frontend import tree
from pyebpf.frontend.flow import Fate
from pyebpf.frontend.session import Context
from pyebpf.frontend.types import Maybe, Origin, Ref


def packet_changed(context: Context, span: Span) -> None:
    """Note that the packet is changed at ``span``: every variable that refers to it is dead from here on."""
    context.instance.changes_packet = True
    context.packet_changes.append(span)
    if context.state is None:
        return
    dead = []
    for variable, knowledge in context.state.known.items():
        of = knowledge.type.of if isinstance(knowledge.type, Maybe) else knowledge.type
        if isinstance(of, Ref) and of.origin is Origin.PACKET and knowledge.fate is None:
            dead.append(variable)
    context.state.end(Fate.PACKET_CHANGED, span, dead)


def note_view(context: Context, expr: tree.Expr) -> None:
    """Remember after how many changes a reference into the packet was evaluated."""
    if _in_packet(expr):
        context.views[id(expr)] = (expr, len(context.packet_changes))


def refuse_stale(context: Context, exprs: Iterable[tree.Expr]) -> None:
    """Refuse references into the packet that were evaluated before a change in the same statement."""
    for expr in exprs:
        if not _in_packet(expr):
            continue
        found = context.views.get(id(_root(expr)))
        if found is not None and found[1] < len(context.packet_changes):
            raise context.refusal(
                Code.E0704,
                expr.span,
                "this points into the packet, which is changed before it is used",
                labels=[Label(context.packet_changes[-1], "the packet is changed here")],
                help="change the packet in a statement of its own, and read it afterwards",
            )


def _in_packet(expr: tree.Expr) -> bool:
    of = expr.type.of if isinstance(expr.type, Maybe) else expr.type
    return isinstance(of, Ref) and of.origin is Origin.PACKET


def _root(expr: tree.Expr) -> tree.Expr:
    while isinstance(expr, tree.FieldOf | tree.ElementOf | tree.SliceOf):
        expr = expr.base
    return expr
