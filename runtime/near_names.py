"""Near names for what the user may have meant, out of as many as the kernel has functions."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

_MOST: Final = 4
_CUTOFF: Final = 0.6
_SHARED: Final = 0.4
"""How many of the pairs of letters of a name another one must have to be compared at all: comparing 100,000 names
letter by letter would take seconds."""


def near(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """The names in ``known`` that look like ``name``: at most four, best first."""
    wanted = {name[at : at + 2] for at in range(len(name) - 1)}
    least, longest = len(wanted) * _SHARED, len(name) * 2 + 2
    similar = [
        other
        for other in dict.fromkeys(known)
        if len(other) <= longest and sum(pair in other for pair in wanted) >= least
    ]
    found = difflib.get_close_matches(name, similar, n=_MOST, cutoff=_CUTOFF)
    lower = name.lower()
    same = [other for other in similar if other.lower() == lower and other not in found]
    return tuple([*same, *found][:_MOST])
