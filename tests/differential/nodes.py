"""All nodes of a typed tree."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import fields

from pyebpf.frontend import tree

_LEAVES = frozenset(
    {"span", "type", "local", "kind", "row", "helper", "layout", "struct", "map", "decl", "program"}
)


@functools.cache
def _parts(of: str) -> tuple[str, ...]:
    return tuple(f.name for f in fields(getattr(tree, of)) if f.name not in _LEAVES)


def all_nodes(unit: tree.Unit) -> Iterator[tree.Node]:
    """Every statement and expression of the programs and of the functions that they reach, each once."""
    done: set[int] = set()
    waiting: list[object] = [*unit.programs, *unit.functions]
    while waiting:
        found = waiting.pop()
        if isinstance(found, tuple):
            waiting += found
        elif isinstance(found, tree.Function):
            if id(found) not in done:
                done.add(id(found))
                yield found
                waiting += found.body
        elif isinstance(found, tree.Node):
            yield found
            waiting += [getattr(found, name) for name in _parts(type(found).__name__)]
