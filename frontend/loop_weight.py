"""How much the verifier walks through for a loop, and for everything else of the tree."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pyebpf.frontend import tree
from pyebpf.frontend.tree_nodes import nodes
from pyebpf.records import fields

Loop = tree.While | tree.ForRange | tree.ForConstants
LOOPS = (tree.While, tree.ForRange, tree.ForConstants)

WEIGHT_LIMIT = 500_000
"""A loop that counts as more instructions is not followed: the verifier gives up after a million."""
ITERATOR_WEIGHT = 50_000
"""From here on a loop goes over an iterator where it may: following it would take the kernel longer than running it."""
CALLBACKS = 60
"""The verifier goes on with a function that a helper calls until nothing changes any more, and remembers 64 states to compare
with; in a loop that it follows there is one for each iteration (``is_state_visited``)."""
ITERATOR_ROUNDS = 4
"""So often the verifier goes through the body of a loop over an iterator until nothing changes any more, about."""


def trips_of(loop: Loop) -> int:
    """The most iterations."""
    return len(loop.values) if isinstance(loop, tree.ForConstants) else loop.trips


def followed_trips(loop: Loop) -> int:
    """How many iterations the verifier goes through."""
    trips = trips_of(loop)
    if loop.driver is tree.LoopDriver.COUNTER:
        return trips
    return min(trips, ITERATOR_ROUNDS * math.prod(trips_of(inner) for inner in _left_at_several(loop.body)))


def rounds_of_callbacks(part: object) -> int:
    """How many iterations the verifier follows to one and the same call of a helper that calls a function, at most: 1 outside
    of loops, 0 if there is no such call."""
    match part:
        case tuple():
            return max(map(rounds_of_callbacks, part), default=0)
        case tree.LoopCall() | tree.FunctionHandle():
            return 1
        case tree.While() | tree.ForRange() | tree.ForConstants():
            trips = trips_of(part) if part.driver is tree.LoopDriver.COUNTER else 1
            return max(trips * rounds_of_callbacks(part.body), rounds_of_callbacks(part.orelse))
        case tree.FunctionCall(args=args, function=function):
            inside = 0 if function.kind is tree.FunctionKind.GLOBAL else rounds_of_callbacks(function.body)
            return max(rounds_of_callbacks(args), inside)
        case tree.Function():
            return 0
        case tree.Node():
            return max(rounds_of_callbacks(getattr(part, one.name)) for one in fields(part))
        case _:
            return 0


def _left_at_several(body: object) -> Iterator[Loop]:
    """The loops in ``body`` in which the verifier knows the number of the iteration, and from which the way leads on from
    several of them: what is left of these numbers in registers and on the stack makes the states different."""
    for node in nodes(body):
        match node:
            case tree.While() | tree.ForRange() | tree.ForConstants():
                if node.driver is tree.LoopDriver.COUNTER and (breaks(node.body) or not _constant_end(node)):
                    yield node
            case tree.FunctionCall(function=function) if function.kind is not tree.FunctionKind.GLOBAL:
                yield from _left_at_several(function.body)  # it may be inlined
            case _:
                pass


def _constant_end(loop: Loop) -> bool:
    match loop:
        case tree.ForConstants():
            return True
        case tree.ForRange(start=start, stop=stop):
            return isinstance(start, tree.IntConst) and isinstance(stop, tree.IntConst)
        case tree.While(test=tree.Compare(left=left, right=right)):
            return isinstance(left, tree.IntConst) or isinstance(right, tree.IntConst)
        case _:
            return False


def breaks(body: object) -> bool:
    """Whether the loop with this body may be left by ``break``."""
    match body:
        case tuple():
            return any(breaks(item) for item in body)
        case tree.Break():
            return True
        case tree.While() | tree.ForRange() | tree.ForConstants():
            return breaks(body.orelse)
        case tree.If() | tree.Try() | tree.Reserve() | tree.Handler():
            return any(breaks(getattr(body, part.name)) for part in fields(body))
        case _:
            return False


def weight(node: object) -> int:
    """About how many instructions the verifier walks through for a part of the tree."""
    if isinstance(node, tuple | list):
        return sum(weight(item) for item in node)
    match node:
        case tree.While() | tree.ForRange() | tree.ForConstants():
            return 2 + followed_trips(node) * (1 + weight(node.body)) + weight(node.orelse)
        case tree.FunctionHandle(function=function):
            return ITERATOR_ROUNDS * weight(function.body)
        case tree.IntConst() | tree.GetLocal() | tree.FieldOf() | tree.MapHandle():
            return 0 if not isinstance(node, tree.FieldOf) else weight(node.base)
        case tree.FunctionCall(function=function, args=args):
            alone = function.kind is tree.FunctionKind.GLOBAL
            return 2 + weight(args) + (0 if alone else weight(function.body))
        case tree.LoopCall(count=count, body=function, state=state):
            return 6 + weight((count, state)) + ITERATOR_ROUNDS * weight(function.body)
        case tree.MapLookup() | tree.MapUpdate() | tree.MapDelete() | tree.HelperCall() | tree.PacketView():
            return 6 + sum(weight(getattr(node, f.name)) for f in fields(node) if f.name not in _SKIP)
        case tree.EqualBytes():
            return 2 * (node.length // 8 + 1) + weight(node.left) + weight(node.right)
    if not isinstance(node, tree.Node):
        return 0
    return 1 + sum(weight(getattr(node, f.name)) for f in fields(node) if f.name not in _SKIP)


_SKIP = frozenset(
    {"span", "type", "map", "decl", "helper", "row", "field", "layout", "function", "local", "struct"}
)
