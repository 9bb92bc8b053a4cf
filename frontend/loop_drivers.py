"""What drives a loop for the verifier: its counter, or one of the kernel's number iterators.

The verifier follows every iteration of a loop that counts, and gives up after a million instructions, or when it has more
than 8,192 sides of branches to come back to. It goes through the body of a loop over an iterator only until nothing changes
any more; but taking a number costs a call each time, it needs Linux 6.4 and a GPL-compatible licence. So a loop counts
unless it would take too much alone (``driver_of``) or together with all others (``balance``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyebpf.codes import Code
from pyebpf.diagnostics import Diagnostic, Span
from pyebpf.frontend import tree
from pyebpf.frontend.forks import FORKS_LIMIT, ITERATOR_FORKS, forks
from pyebpf.frontend.loop_weight import (
    CALLBACKS,
    ITERATOR_ROUNDS,
    ITERATOR_WEIGHT,
    WEIGHT_LIMIT,
    Loop,
    rounds_of_callbacks,
    trips_of,
    weight,
)
from pyebpf.frontend.session import Context, Session
from pyebpf.frontend.tree_nodes import nodes
from pyebpf.frontend.types import Int
from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


ITERATORS_SINCE: Final = (6, 4)
"""The first kernel with ``bpf_iter_num_new`` and its relatives (kernel/bpf/bpf_iter.c)."""


def driver_of(
    context: Context,
    trips: int,
    body: tree.Body,
    span: Span,
    *,
    exact: bool = True,
    test: tree.Expr | None = None,
) -> tree.LoopDriver:
    """What drives a loop: the kernel's iterator where the verifier would give up on a counter. Refuses the loop where the
    iterator may not be used. ``exact``: an iterator can be given the number of iterations; ``test``: what each iteration
    of a ``while`` begins with."""
    instructions = trips * weight(body)
    asked = forks((test, *body), context.session.target.kernel)
    heavy, forked = instructions > WEIGHT_LIMIT, trips * asked > FORKS_LIMIT
    called = trips * rounds_of_callbacks(body) > CALLBACKS
    if instructions <= ITERATOR_WEIGHT and trips * asked <= ITERATOR_FORKS and not called:
        return tree.LoopDriver.COUNTER
    reasons = _against_iterator(context.session, body, exact)
    if not reasons:
        return tree.LoopDriver.ITERATOR
    if not (heavy or forked or called):
        return tree.LoopDriver.COUNTER
    about, why = "of this body", _heavy(weight(body))
    if not heavy:
        about, why = (
            ("with so many tests", _forked(asked)) if forked else ("with calls of functions", _CALLED)
        )
    raise context.refusal(
        Code.E0402,
        span,
        f"up to {trips} iterations {about} are too many to verify",
        notes=[*why, *reasons],
        help="use `bpf.loop(n, body, state)`, whose body is verified once",
    )


_CALLED: Final = (
    "the kernel follows each call of a function by a helper until nothing changes any more, which it does not see to be so "
    f"in more than {CALLBACKS} iterations",
)


def _heavy(instructions: int) -> tuple[str, ...]:
    return (
        "the kernel follows every iteration of a loop and gives up after a million instructions",
        f"the body counts as {instructions} instructions",
    )


def _forked(asked: int) -> tuple[str, ...]:
    return (
        "where a test may go either way, the kernel puts one way aside until it has followed the other to the end, "
        f"and gives up after {FORKS_LIMIT} of them",
        f"each iteration has up to {asked}, checks of packet bounds and of missing keys included",
    )


def _against_iterator(session: Session, body: tree.Body, exact: bool) -> list[str]:
    """Why the loop cannot go over an iterator of the kernel."""
    found: list[str] = []
    kernel = session.target.kernel
    if kernel < ITERATORS_SINCE:
        found.append(
            f"Linux {_release(ITERATORS_SINCE)} and later have iterators for it; this is for {_release(kernel)}"
        )
    if not session.gpl:
        found.append('the kernel has iterators for it for programs with a `bpf.license("GPL")`')
    if any(isinstance(node, tree.TailCall) for node in nodes(body)):
        found.append("a tail call may not leave a loop over one of the kernel's iterators")
    if not exact:
        found.append("the bounds may have wrapped, so the kernel's iterators cannot be told where to end")
    return found


def _release(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


# ---------------------------------------------------------------- all loops of a program


def balance(session: Session, entries: Iterable[tree.Function]) -> list[Diagnostic]:
    """Let the heaviest loops of each program go over iterators until all that it calls can be verified together. What
    remains too much is refused."""
    kernel = session.target.kernel
    refused: list[Diagnostic] = []
    for entry in entries:
        while weight(entry.body) > ITERATOR_WEIGHT or forks(entry.body, kernel) > ITERATOR_FORKS:
            loops = [loop for loop in _loops(entry, set()) if _may_change(session, loop)]
            if not loops:
                break
            _heaviest(loops).driver = tree.LoopDriver.ITERATOR
        instructions, asked = weight(entry.body), forks(entry.body, kernel)
        loops = list(_loops(entry, set()))
        if loops and (instructions > _ALL or asked > FORKS_LIMIT):
            refused.append(_too_much(session, _heaviest(loops), instructions, asked))
    return refused


_ALL: Final = 1_000_000
"""The verifier gives up after so many instructions (``BPF_COMPLEXITY_LIMIT_INSNS``)."""


def _heaviest(loops: Iterable[Loop]) -> Loop:
    return max(loops, key=lambda loop: weight((loop,)))


def _too_much(session: Session, loop: Loop, instructions: int, asked: int) -> Diagnostic:
    heavy = instructions > _ALL
    count = f"{instructions} instructions" if heavy else f"{asked} tests"
    about = _heavy(weight(loop.body)) if heavy else _forked(forks(loop.body, session.target.kernel))
    return Diagnostic(
        Code.E0402,
        f"the loops of this program are too much to verify together: {count}",
        loop.span,
        "this one takes most",
        notes=(*about, *_against_iterator(session, loop.body, exact=True)),
        help=("use `bpf.loop(n, body, state)`, whose body is verified once",),
    )


def _loops(function: tree.Function, met: set[tree.Function]) -> Iterator[Loop]:
    """The loops of a function and of all that the verifier goes through with it."""
    if function in met:
        return
    met.add(function)
    for node in nodes(function.body):
        if isinstance(node, Loop):
            yield node
        elif isinstance(node, tree.Function) and node.kind is not tree.FunctionKind.GLOBAL:
            yield from _loops(node, met)


def _may_change(session: Session, loop: Loop) -> bool:
    if isinstance(loop, tree.While) and isinstance(loop.test, tree.IntConst):
        return False  # only what is inside ends it: there would be nowhere to go at the end of the iterator
    exact = True
    if isinstance(loop, tree.ForRange):
        bounds = (loop.start.type, loop.stop.type)
        exact = all(isinstance(kind, Int) and kind.exact for kind in bounds)
    counts = loop.driver is tree.LoopDriver.COUNTER
    return (
        counts and trips_of(loop) > 4 * ITERATOR_ROUNDS and not _against_iterator(session, loop.body, exact)
    )
