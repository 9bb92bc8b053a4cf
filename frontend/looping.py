"""What all loops have in common: the state at the head, at the back edge and after the end, and their weight."""

from __future__ import annotations

from typing import Any

from pyebpf.codes import Code
from pyebpf.diagnostics import Span
from pyebpf.frontend import tree
from pyebpf.frontend.blocks import block
from pyebpf.frontend.bounds import WEIGHT_LIMIT, weight
from pyebpf.frontend.flow import Fate, State, join_states
from pyebpf.frontend.forks import FORKS_LIMIT, forks
from pyebpf.frontend.session import Context, LoopFrame
from pyebpf.frontend.types import Int


def enter(context: Context, node: Any) -> LoopFrame:
    """Begin a loop: the state at its head joins what the last round left at the back edge."""
    context.state = join_states(context.state, context.memory.back_edges.get(id(node)), loop_head=True)
    frame = LoopFrame(id(node))
    context.loops.append(frame)
    return frame


def intervals(state: State | None) -> dict[tree.Local, Int]:
    """What is known of the integer variables in ``state``."""
    if state is None:
        return {}
    return {v.local: k.type for v, k in state.known.items() if isinstance(k.type, Int)}


def close(context: Context, node: Any, frame: LoopFrame) -> State | None:
    """End the body: record the state of the back edge, in which everything built in the iteration is stale."""
    context.loops.pop()
    back = join_states(context.state, frame.continues)
    if back is not None:
        stale = back.born_in(frame.region)
        back.end(Fate.ITERATION_OVER, context.span(node), stale)
    before = context.memory.back_edges.get(id(node))
    recorded = None if back is None else back.remembered()
    if not _same(before, recorded):
        context.memory.back_edges[id(node)] = join_states(before, recorded, loop_head=True)
        context.memory.changed = True
    return back


def _same(before: State | None, now: State | None) -> bool:
    """Whether what is recorded of a back edge covers what has been found now."""
    if before is None or now is None:
        return now is None
    joined = join_states(before, now, loop_head=True)
    assert joined is not None
    return joined.known == before.known


def finish(context: Context, node: Any, frame: LoopFrame, exhausted: State | None) -> tree.Body:
    """After the loop: the ``else`` block runs from the state at the head, ``break`` goes around it."""
    context.state = exhausted
    orelse: tree.Body = ()
    if context.state is not None:
        orelse = block(context, node.orelse)
    else:
        for child in node.orelse:
            context.coverage.skip(child)
    context.state = join_states(context.state, frame.breaks)
    return orelse


def refuse_heavy(
    context: Context, trips: int, body: tree.Body, span: Span, test: tree.Expr | None = None
) -> None:
    """Refuse a loop that the verifier would give up on. ``test``: what each iteration of a ``while`` begins with."""
    help_ = "use `bpf.loop(n, body, state)`, whose body is verified once"
    if trips * weight(body) > WEIGHT_LIMIT:
        raise context.refusal(
            Code.E0402,
            span,
            f"up to {trips} iterations of this body are too many to verify",
            notes=[
                "the kernel follows every iteration of a loop and gives up after a million instructions",
                f"the body counts as {weight(body)} instructions",
            ],
            help=help_,
        )
    asked = forks((test, *body), context.session.target.kernel)
    if trips * asked > FORKS_LIMIT:
        raise context.refusal(
            Code.E0402,
            span,
            f"up to {trips} iterations with so many tests are too many to verify",
            notes=[
                "where a test may go either way, the kernel puts one way aside until it has followed the other to the end, "
                f"and gives up after {FORKS_LIMIT} of them",
                f"each iteration has up to {asked}, checks of packet bounds and of missing keys included",
            ],
            help=help_,
        )
