"""Where a value came from, followed back along the way that the verifier went.

A value is followed through copies between registers, through the stack, into functions that were called and out to
their callers. What is not understood ends the search.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass, field
from pyebpf.runtime.rejection.parse import Step
from pyebpf.uapi.helpers import helper_by_id

if TYPE_CHECKING:
    from typing import Final


_COPY: Final = re.compile(r"[rw](\d+) = (?:\([su]\d+\))?[rw](\d+)")
_FILL: Final = re.compile(r"r(\d+) = \*\([us]\d+ \*\)\(r10 -(\d+)\)")
_SPILL: Final = re.compile(r"\*\(u\d+ \*\)\(r10 -(\d+)\) = (?:r(\d+)|.*)")
_CHANGE: Final = re.compile(r"[rw](\d+) (?:s?[-+*/%&|^]|s?<<|s?>>)= (?:[rw](\d+)|.*)")
_SCALE: Final = re.compile(r" (?:<<|[+*])= ")
"""What makes an offset in bytes of an index: it is left out where the index is told."""
_WRITE: Final = re.compile(r"[rw](\d+) = .*")
_TEST: Final = re.compile(r"if [rw](\d+) \S+ (?:[rw](\d+)|\S+) goto .*")
_HELPER: Final = re.compile(r"call \w+#(\d+)")
_BASE: Final = re.compile(r"\(r(\d+) [-+] ?\d+\)")
_PASSED: Final = ("R1", "R2", "R3", "R4", "R5")


@dataclass(frozen=True, slots=True)
class Change:
    """Step ``at`` changed the value in ``register``, by the one in ``other`` if that is not ``None``."""

    at: int
    register: str
    other: str | None
    scales: bool


@dataclass(slots=True)
class Origin:
    """``made``: the index of the step that made the value, ``None`` where the way does not show it (a parameter); ``place``:
    where it was put, or is then.

    ``tests``: steps that compared it; ``changes``: arithmetic on it. The latest is first in both.
    """

    place: str
    made: int | None = None
    tests: list[int] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


def base_register(text: str) -> str | None:
    """The register through which an instruction accesses memory, or which it changes: ``R2`` in ``r0 = *(u8 *)(r2 +0)``."""
    found = _BASE.search(text) or _CHANGE.fullmatch(text)
    return f"R{found[1]}" if found else None


def operand(text: str) -> str | None:
    """The register that is added to another, subtracted and so on."""
    found = _CHANGE.fullmatch(text)
    return f"R{found[2]}" if found and found[2] else None


def is_call(text: str) -> bool:
    """Whether an instruction calls a helper or a function."""
    return text.startswith("call ")


def may_move_packet(text: str) -> bool:
    """Whether an instruction calls a helper that changes the packet, or a function, which may call one."""
    called = _HELPER.match(text)
    helper = helper_by_id(int(called[1])) if called else None
    return text.startswith("call pc") or (helper is not None and helper.changes_packet)


def gives_back(text: str) -> bool:
    """Whether an instruction calls something that submits, discards or releases."""
    return is_call(text) and any(word in text for word in ("submit", "discard", "release"))


def follow(steps: Sequence[Step], before: int, place: str) -> Origin:
    """Where the contents of ``place`` (``R3``, ``fp-8``) just before step ``before`` came from."""
    found = Origin(place)
    frame = steps[before].frame if before < len(steps) else 0
    at = before
    while at > 0:
        at -= 1
        step = steps[at]
        if step.frame > frame:
            if found.place != "R0":
                continue  # a function that was called and has returned: it leaves all but r0 alone
            frame = step.frame  # its result: what it left in its own r0
        elif step.frame < frame:
            if found.place not in _PASSED or not step.text.startswith("call pc"):
                found.made = at
                return found
            frame = step.frame
            continue
        if _back(step.text, at, found):
            found.made = at
            return found
    return found


def _back(text: str, at: int, found: Origin) -> bool:
    """Go back over one instruction; whether it made the value."""
    place = found.place
    register = place.removeprefix("R")
    if is_call(text):
        return place in ("R0", *_PASSED)
    if test := _TEST.fullmatch(text):
        if register in test.groups():
            found.tests.append(at)
    elif (copy := _COPY.fullmatch(text)) and copy[1] == register:
        found.place = f"R{copy[2]}"
    elif (fill := _FILL.fullmatch(text)) and fill[1] == register:
        found.place = f"fp-{fill[2]}"
    elif (spill := _SPILL.fullmatch(text)) and place == f"fp-{spill[1]}":
        if not spill[2]:
            return True
        found.place = f"R{spill[2]}"
    elif (change := _CHANGE.fullmatch(text)) and change[1] == register:
        other = f"R{change[2]}" if change[2] else None
        found.changes.append(Change(at, place, other, other is None and bool(_SCALE.search(text))))
    elif (write := _WRITE.fullmatch(text)) and write[1] == register:
        return True
    return False
