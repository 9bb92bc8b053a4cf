"""What all loops have in common: the state at the head, at the back edge and after the end."""

from __future__ import annotations

from pyebpf.diagnostics import Span
from pyebpf.frontend import tree
from pyebpf.frontend.blocks import block
from pyebpf.frontend.flow import Fate, State, join_states
from pyebpf.frontend.session import Context, LoopFrame, local_type
from pyebpf.frontend.types import BOOL, Int
from pyebpf.hints import Any


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
    kinds = ((variable.local, local_type(known.type)) for variable, known in state.known.items())
    return {local: kind for local, kind in kinds if isinstance(kind, Int)}


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


def single_round(
    local: tree.Local, first: tree.Expr, body: tree.Body, known: tree.LoopKnowledge, span: Span
) -> tree.Stmt:
    """A loop over something that is not empty, whose body always leaves it: nothing comes after a first round."""
    begin = tree.SetLocal(local=local, value=first, span=span)
    always = tree.IntConst(value=1, type=BOOL, span=span)
    return tree.While(test=always, body=(begin, *body), orelse=(), trips=1, known=known, span=span)
