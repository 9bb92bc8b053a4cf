"""Near names for what the user may have meant, out of as many as the kernel has functions."""

from __future__ import annotations

from collections.abc import Iterable

from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


_MOST: Final = 4
_CUTOFF: Final = 0.6
_SHARED: Final = 0.3
_FEW: Final = 2_000
"""Of more names than these only those are compared that share as many of the pairs of letters: comparing 100,000 names
letter by letter would take seconds."""


def near(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """The names in ``known`` that look like ``name``: at most four, best first."""
    import difflib  # only for what fails: it takes as long to import as a small module of ours

    lower = name.lower()
    wanted = {lower[at : at + 2] for at in range(len(lower) - 1)}
    least, longest = len(wanted) * _SHARED, len(name) * 2 + 2
    similar = list(dict.fromkeys(known))
    if len(similar) > _FEW:
        similar = [
            other
            for other in similar
            if len(other) <= longest and sum(pair in other.lower() for pair in wanted) >= least
        ]
    found = difflib.get_close_matches(name, similar, n=_MOST, cutoff=_CUTOFF)
    same = [other for other in similar if other.lower() == lower and other not in found]
    return tuple([*same, *found][:_MOST])
