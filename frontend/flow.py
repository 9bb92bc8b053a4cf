"""What is known about the variables at one point of a function: the state that statements pass on.

A state maps each variable to whether it is bound, to the type that tests have narrowed it to, and to what has
become of the storage that it refers to. ``None`` instead of a state means that the point is not reached.
Branches work on copies (``State.copy``) that are joined where they meet.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyebpf import enums
from pyebpf.diagnostics import Span
from pyebpf.frontend import tree
from pyebpf.frontend.types import Int, NoneT
from pyebpf.frontend.values import Mismatch, OptionalInt, VariableType, join
from pyebpf.hints import Any
from pyebpf.records import dataclass, field, replace


@dataclass(eq=False, slots=True)
class Variable:
    """A name of a function. ``declared`` is the type that all assignments found so far have in common.

    ``annotation`` is the type that the user wrote, to which every assignment is converted. ``present`` is the
    second local of a variable that holds an integer or None. ``observed`` is what this round alone has seen.
    """

    name: str
    span: Span
    local: tree.Local
    annotation: VariableType | None = None
    wrap: Any = None  # the IntType of the annotation
    declared: VariableType | None = None
    observed: VariableType | None = None
    present: tree.Local | None = None


class Fate(enums.Enum):
    """What became of the storage behind a reference."""

    PACKET_CHANGED = "packet changed"
    ITERATION_OVER = "built in an earlier iteration"
    SUBMITTED = "submitted"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known of one variable. ``births``: the loops and ``with`` blocks in which its storage was made."""

    type: VariableType
    bound: bool = True  # False: bound on some paths only
    births: frozenset[int] = frozenset()
    fate: Fate | None = None
    fate_span: Span | None = None
    fresh: tree.Local | None = None  # an optional integer just looked up: the reference that decides
    acquired: Span | None = None  # a kernel reference that must be released
    poisoned: bool = False  # its assignment was refused


@dataclass(slots=True)
class State:
    """The knowledge of all variables that are bound on some path. A variable that is missing is unbound."""

    known: dict[Variable, Knowledge] = field(default_factory=dict)

    def copy(self) -> State:
        """An independent copy."""
        return State(dict(self.known))

    def narrow(self, variable: Variable, to: VariableType) -> None:
        """Note that the variable has a narrower type from here on."""
        acquired = None if isinstance(to, NoneT) else self.known[variable].acquired
        self.known[variable] = replace(self.known[variable], type=to, acquired=acquired)

    def end(self, fate: Fate, span: Span, over: Iterable[Variable]) -> None:
        """Note what became of the storage behind some variables."""
        for variable in over:
            self.known[variable] = replace(self.known[variable], fate=fate, fate_span=span)

    def remembered(self) -> State:
        """The state as later rounds of the analysis take it up: they refuse again what is to be refused."""
        return State({v: replace(k, poisoned=False) if k.poisoned else k for v, k in self.known.items()})

    def born_in(self, region: int) -> list[Variable]:
        """The variables that may refer to storage made in the loop or ``with`` block."""
        return [variable for variable, knowledge in self.known.items() if region in knowledge.births]


def join_knowledge(left: Knowledge, right: Knowledge, *, coarse: VariableType | None = None) -> Knowledge:
    """What both have in common. ``coarse``: the type to take where integers differ (at loop heads)."""
    if left == right:
        return left
    kind: VariableType
    if left.type == right.type:
        kind = left.type
    elif coarse is not None and isinstance(left.type, Int) and isinstance(right.type, Int):
        kind = _coarser(left.type, right.type, coarse)
    elif coarse is not None and isinstance(left.type, Int | OptionalInt) | isinstance(
        right.type, Int | OptionalInt
    ):
        kind = coarse
    else:
        try:
            kind = join(left.type, right.type)
        except Mismatch:
            kind = left.type  # reported where the second type was assigned
    return Knowledge(
        kind,
        left.bound and right.bound,
        left.births | right.births,
        left.fate or right.fate,
        left.fate_span or right.fate_span,
        left.fresh if left.fresh is right.fresh else None,
        left.acquired or right.acquired,
        left.poisoned or right.poisoned,
    )


def _coarser(entry: Int, back: Int, declared: VariableType) -> VariableType:
    """The type at a loop head of an integer that is known differently before the loop and at its back edge."""
    inside = entry.lo <= back.lo and back.hi <= entry.hi and back.exact >= entry.exact
    if inside and entry.unsigned == back.unsigned and back.seen >= entry.seen:
        return entry
    return declared.of if isinstance(declared, OptionalInt) else declared


def join_states(left: State | None, right: State | None, *, loop_head: bool = False) -> State | None:
    """The state where two paths meet. At a loop head integers that changed fall back to their declared type."""
    if left is None or right is None:
        found = left or right
        return None if found is None else found.copy()
    known: dict[Variable, Knowledge] = {}
    for variable in {**left.known, **right.known}:
        one, two = left.known.get(variable), right.known.get(variable)
        if one is not None and two is not None:
            coarse = variable.declared if loop_head else None
            known[variable] = join_knowledge(one, two, coarse=coarse)
        else:
            only = one or two
            assert only is not None
            known[variable] = replace(only, bound=False)
    return State(known)
