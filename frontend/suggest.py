"""Near names for what the user may have meant: at most four, best first."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """A help text with the names of ``known`` that look like ``name``; empty where none does."""
    names = list(dict.fromkeys(k for k in known if not k.startswith("__")))
    found = difflib.get_close_matches(name, names, n=4, cutoff=0.6)
    lower = [k for k in names if k.lower() == name.lower() and k not in found]
    found = [*lower, *found][:4]
    if not found:
        return ()
    return (f"did you mean {' or '.join(f'`{k}`' for k in found)}?",)
