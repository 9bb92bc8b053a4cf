"""What was decided about the loops of a program, and how often the verifier passes each line: for ``pyebpf check``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from pyebpf.diagnostics import Span
from pyebpf.frontend import tree
from pyebpf.frontend.build_frame import reachable
from pyebpf.frontend.forks import ITERATOR_FORKS, forks
from pyebpf.frontend.loop_weight import (
    CALLBACKS,
    ITERATOR_ROUNDS,
    ITERATOR_WEIGHT,
    LOOPS,
    Loop,
    followed_trips,
    rounds_of_callbacks,
    trips_of,
    weight,
)
from pyebpf.frontend.tree_nodes import nodes
from pyebpf.records import dataclass, fields


@dataclass(frozen=True, slots=True)
class LoopFact:
    """A loop of ``function``: what drives it, and why."""

    span: Span
    function: str
    driver: str
    why: str


def loop_facts(programs: Iterable[tree.Function], kernel: tuple[int, int]) -> list[LoopFact]:
    """Every loop of the programs and of what they call, in the order of the source."""
    found: list[LoopFact] = []
    for function in reachable(programs):
        for node in nodes(function.body):
            if isinstance(node, LOOPS):
                found.append(LoopFact(node.span, function.name, *_driven(node, kernel)))
            elif isinstance(node, tree.LoopCall):
                body = weight(node.body.body)
                why = f"the kernel verifies {node.body.name}, about {body} instructions, until nothing changes any more"
                found.append(LoopFact(node.span, function.name, "a callback (bpf_loop)", why))
    return sorted(found, key=lambda fact: (fact.span.file, fact.span.line, fact.span.column))


def _driven(loop: Loop, kernel: tuple[int, int]) -> tuple[str, str]:
    trips, body = trips_of(loop), weight(loop.body)
    test = loop.test if isinstance(loop, tree.While) else None
    asked = forks((test, *loop.body), kernel)
    work = f"up to {trips} rounds of about {body} instructions and {asked} tests"
    if loop.driver is tree.LoopDriver.COUNTER:
        return "its counter", f"the kernel follows {work}"
    if trips * body > ITERATOR_WEIGHT:
        return "an iterator of the kernel", f"{work} are too many instructions to follow"
    if trips * asked > ITERATOR_FORKS:
        return "an iterator of the kernel", f"{work} are too many tests to follow"
    if trips * rounds_of_callbacks(loop.body) > CALLBACKS:
        return "an iterator of the kernel", f"{work}, in which helpers call functions, are too many to follow"
    return (
        "an iterator of the kernel",
        f"{work} are too much to follow together with the loops around or beside it",
    )


# ---------------------------------------------------------------- how often

Line = tuple[str, int]
"""A file and a line in it."""


def passes(entry: tree.Function) -> Counter[Line]:
    """About how often the verifier passes each line of a program and of what it calls."""
    found: Counter[Line] = Counter()
    for line, times in _passed(entry, 1, set()):
        found[line] += times
    return found


def _passed(function: tree.Function, times: int, met: set[tree.Function]) -> Iterator[tuple[Line, int]]:
    """Each line of ``function`` once, with its number of passes, then those of the functions that it calls."""
    lines: dict[Line, int] = {(function.span.file, function.span.line): times}
    called: list[tuple[tree.Function, int]] = []

    def visit(item: object, now: int) -> None:
        if isinstance(item, tuple):
            for part in item:
                visit(part, now)
            return
        if isinstance(item, tree.Function):
            called.append((item, now))
            return
        if not isinstance(item, tree.Node):
            return
        line = (item.span.file, item.span.line)
        lines[line] = max(lines.get(line, 0), now)
        for part in fields(item):
            inside = part.name in ("body", "test") and isinstance(item, LOOPS)
            again = isinstance(item, tree.LoopCall | tree.FunctionHandle)
            rounds = (
                followed_trips(item)
                if inside and isinstance(item, LOOPS)
                else ITERATOR_ROUNDS
                if again
                else 1
            )
            visit(getattr(item, part.name), now * rounds)

    visit(function.body, times)
    yield from lines.items()
    for callee, now in called:
        if callee.kind is not tree.FunctionKind.GLOBAL:
            yield from _passed(callee, now, met)
        elif callee not in met:  # verified once, on its own
            met.add(callee)
            yield from _passed(callee, 1, met)
