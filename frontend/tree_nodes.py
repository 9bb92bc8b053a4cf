"""Going through the typed tree."""

from __future__ import annotations

from collections.abc import Iterator

from pyebpf.frontend import tree
from pyebpf.records import fields, is_dataclass


def nodes(root: object) -> Iterator[tree.Node]:
    """Every node in a body, statement or expression, in source order. Other functions are not entered."""
    stack = [root]
    while stack:
        item = stack.pop()
        if isinstance(item, tuple):
            stack.extend(reversed(item))
        elif isinstance(item, tree.Node) and is_dataclass(item):
            yield item
            if not isinstance(item, tree.Function):
                stack.extend(getattr(item, f.name) for f in reversed(fields(item)))
