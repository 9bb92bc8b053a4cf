"""Proof that nothing of a function was overlooked: every syntax node is visited, skipped on purpose, or refused.

The dispatchers mark each node that they hand to its visitor, and visitors mark the auxiliary nodes that they take
apart themselves (keywords, slices, patterns). What is left unmarked in a function that was otherwise accepted
was not looked at by anybody, and is refused at its place: so a construct that nobody thought of can never be
silently dropped, by construction.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyebpf.hints import Any

# Containers without a meaning of their own: only their children count.
_TRANSPARENT = frozenset({"Arguments", "Decorators"})


class Coverage:
    """The nodes of one function that have been looked at in the current round."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def mark(self, node: Any) -> None:
        """``node`` itself has been looked at; its children have still to be."""
        self._seen.add(id(node))

    def skip(self, node: Any) -> None:
        """``node`` and all below it have been dealt with, or are known not to run."""
        work = [node]
        while work:
            found = work.pop()
            self._seen.add(id(found))
            work.extend(found.get_children())

    def unseen(self, function: Any) -> Iterator[Any]:
        """The outermost nodes of the function's parameters and body that nobody has looked at."""
        work = [*reversed(function.body), function.args]
        while work:
            node = work.pop()
            if id(node) in self._seen or type(node).__name__ in _TRANSPARENT:
                work.extend(reversed(list(node.get_children())))
            else:
                yield node
