"""Near names for what the user may have meant, as a help text."""

from __future__ import annotations

from collections.abc import Iterable

from pyebpf.near_names import near as near_names


def near(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """A help text with the names of ``known`` that look like ``name``; empty where none does."""
    return meant(near_names(name, (k for k in known if not k.startswith("__"))))


def meant(found: Iterable[str]) -> tuple[str, ...]:
    """The help text with these names, if there is any."""
    names = " or ".join(f"`{name}`" for name in found)
    return (f"did you mean {names}?",) if names else ()
