"""What a ``for`` or ``while`` loop computes is hidden from the verifier where it would give up.

The verifier keeps every way through an iteration that leaves another known number (or interval) in a variable as a state
of its own, as soon as a test depends on it (``regsafe`` in kernel/bpf/verifier.c). It compares with few of the states
that it has seen and drops those that did not help (``is_state_visited``), so with more than some dozens of them it walks
through all ways. Where that would be too many, what multiplies them goes through memory that an atomic operation has
changed (``build_hiding``):

* at the begin of each iteration, what a test in the body may find to be one number again;
* once behind the loop, what only follows looks at;
* once before the loop, what has several numbers already there and only follows looks at.

The estimate keeps that away from loops that are verified as they are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from pyebpf.frontend import tree
from pyebpf.frontend.build_carried import Assignment, Assignments
from pyebpf.frontend.build_cells import Cell, Cells, Read, Somewhere, covers
from pyebpf.frontend.build_live import Life
from pyebpf.frontend.build_looked import depends, looked_at, measured, tests
from pyebpf.frontend.build_state import State
from pyebpf.frontend.loop_weight import LOOPS, Loop, followed_trips, trips_of, weight
from pyebpf.frontend.tree_nodes import nodes
from pyebpf.frontend.types import Bool
from pyebpf.records import dataclass

STATES = 400_000
"""So many instructions are walked through before anything is hidden; the verifier's limit is a million."""
BEHIND = 20_000
"""Likewise for what follows a loop: other loops may multiply that, and hiding once costs little."""
PRECISE_THROUGH_CALLS = (6, 5)
"""The first kernel whose verifier follows where a number comes from through calls of functions. Those before take every number
for one that something depends on then (``mark_all_scalars_precise``)."""
REMEMBERED = 8
"""So many states of one place the verifier finds again."""
FORGETTING = 16
"""As measured, with each further variable it walks through what it has seen once more for every so many iterations."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """What is hidden before a loop, at the begin of each iteration, and behind it; ``measured``: the cells of which the
    verifier has to know the interval."""

    before: tuple[Cell, ...] = ()
    inside: tuple[Cell, ...] = ()
    behind: tuple[Cell, ...] = ()
    measured: AbstractSet[Read] = frozenset()


def hidden_in(f: State, node: Loop) -> Hidden:
    """The cells in which numbers would multiply, if there are too many."""
    known = Assignments(Cells(f.source))
    view = _View(f.source, node, known, f.target.kernel)
    growing = view.growing()
    given = view.given()
    walked = weight(node.body) * followed_trips(node) * f.exits.trips()
    entered = math.prod(given.values())
    found: list[Cell] = []
    if node.driver is tree.LoopDriver.ITERATOR:
        found += growing  # nothing may grow, or the verifier never finds what it has seen
        if walked * entered > STATES:
            found += given
    elif walked * entered * _ways(growing, trips_of(node), view.exits()) > STATES:
        found += growing
        if walked * entered > STATES:
            found += given
    leaving = view.leaving() if view.walked_behind(followed_trips(node)) > BEHIND else []
    return view.placed(found, leaving) if found or leaving else Hidden()


class _View:
    """One loop of a function."""

    def __init__(
        self, function: tree.Function, loop: Loop, known: Assignments, kernel: tuple[int, int]
    ) -> None:
        self.loop = loop
        self.known = known
        self.here = known.inside(loop)
        self.life = Life(known.cells, function, loop)
        self.part = (loop.test, *loop.body) if isinstance(loop, tree.While) else loop.body
        # what a function returns and does to its callers' objects is looked at by them
        self.result = result = function.kind is not tree.FunctionKind.ENTRY
        self.inside = looked_at(self.part, known, result=result)
        self.anywhere = looked_at(function.body, known, result=result)
        self.changed = {one.cell for one in self.here}
        self.rebound = {a.local for a in nodes(loop.body) if isinstance(a, tree.SetLocal | tree.Bind)}
        around = [step.owner for step in self.life.way if step.repeated]
        # Until the loop over an iterator has converged, states are only found again if all numbers in them are within
        # those that were seen, whether something looks at them or not (``RANGE_WITHIN``).
        over_iterators = any(isinstance(owner, LOOPS) and not _counts(owner) for owner in (loop, *around))
        self.exact = over_iterators or (kernel < PRECISE_THROUGH_CALLS and _calls(function.body))
        self.kept = {loop.counter} if isinstance(loop, tree.While) and _counts(loop) else set()
        self.kept_always = {
            owner.counter for owner in around if isinstance(owner, tree.While) and _counts(owner)
        }

    def _matters(self, cell: Cell) -> bool:
        """Whether a test depends on what an iteration finds in a cell, or leaves in it."""
        if not (self.exact or covers(self.anywhere, cell)) or cell in self.kept_always:
            return False
        if not isinstance(cell, tree.Local) and (
            cell.base not in self.life.before or cell.base in self.rebound
        ):
            return False
        return covers(self.life.carried, cell) or covers(self.life.after, cell)

    def growing(self) -> dict[Cell, list[Assignment]]:
        """The cells that do not follow from the number of the iteration alone, with their assignments."""
        varying: set[Read] = {one.cell for one in self.here if one.chosen or one.forks}
        # Where the steps of the counter differ, what is counted beside it does not follow from it.
        # Over an iterator nothing follows from it.
        drifting = not varying.isdisjoint(self.kept) or not _counts(self.loop)
        while more := {a.cell for a in self.here if a.cell not in varying and a.reads & varying}:
            varying |= more
        found: dict[Cell, list[Assignment]] = {}
        for one in self.here:
            cell = one.cell
            if cell in self.kept or not self._matters(cell):
                continue
            if isinstance(cell, Somewhere) and not any(s <= self.known.known for s in one.places):
                continue  # stored where the verifier does not know: it forgets by itself
            if not covers(self.anywhere, cell) and self._forgotten(one):
                continue
            unknown = covers(self.inside, cell) and not any(s <= self.known.known for s in one.sources)
            if drifting or cell in varying or (unknown and not isinstance(cell, Somewhere)):
                found.setdefault(cell, []).append(one)
        return found

    def _forgotten(self, one: Assignment) -> bool:
        """Whether the verifier forgets by itself a number that nothing looks at: it does from one number of an iterator to the
        next, but what the loops inside leave multiplies before (``widen_imprecise_scalars``)."""
        return not _counts(self.loop) and (one.times == 1 or not (one.chosen or one.forks))

    def given(self) -> dict[Cell, int]:
        """The cells that the loop does not change, by how many numbers they may have all through it."""
        asked = tests(self.part, self.known.cells)
        before = tests(tuple(step.body[: step.at] for step in self.life.way), self.known.cells)
        found: dict[Cell, int] = {}
        for cell, ones in self._not_changed().items():
            if cell in self.kept or not self._matters(cell):
                continue
            values = _values(cell, ones, asked + before)
            if values > 1 and (asked[cell] or not covers(self.inside, cell)):
                found[cell] = values
        return found

    def _not_changed(self) -> dict[Cell, list[Assignment]]:
        found: dict[Cell, list[Assignment]] = {number: [] for number in self.known.numbers()}
        for one in self.known.all:
            if one.cell not in self.changed and not isinstance(one.cell, Somewhere):
                found.setdefault(one.cell, []).append(one)
        return {cell: ones for cell, ones in found.items() if cell not in self.known.counters}

    def leaving(self) -> list[Cell]:
        """The cells of which other numbers are known where the loop is left earlier."""
        if self.known.steady(self.loop):
            return []
        asked: set[Read] = {*self.changed}
        for node in nodes(self.loop):
            if isinstance(node, tree.Compare | tree.Truth):
                asked |= self.known.cells.reads(node)
        if isinstance(self.loop, tree.ForRange):
            asked |= self.known.cells.reads((self.loop.start, self.loop.stop))
        asked = depends(asked, self.known.all)  # what is learned of a copy is learned of what was copied
        cells = dict.fromkeys((*self.known.numbers(), *(one.cell for one in self.known.all)))
        return [
            cell for cell in cells if cell in asked and self._matters(cell) and covers(self.life.after, cell)
        ]

    def exits(self) -> int:
        """In how many ways, as a power of two, the loops inside are left: each tells the verifier something else."""
        inner = [node for node in nodes(self.loop.body) if isinstance(node, LOOPS)]
        return sum(trips_of(node).bit_length() for node in inner if not self.known.steady(node))

    def walked_behind(self, exits: int) -> int:
        """How many instructions are walked behind the loop if it is left in so many ways."""
        walked, ways = 0, exits
        for step in reversed(self.life.way):
            for item in step.rest:
                walked += weight(item) * ways
                if isinstance(item, LOOPS) and not self.known.steady(item):
                    ways *= followed_trips(item)
        return walked

    def placed(self, cells: Iterable[Cell], leaving: Iterable[Cell]) -> Hidden:
        """Where to hide each of ``cells``, those that are ``leaving`` behind the loop too."""
        before: list[Cell] = []
        inside: list[Cell] = []
        behind: list[Cell] = []
        for cell in dict.fromkeys(cells):
            there = cell if isinstance(cell, tree.Local) else cell.base
            watched = self.exact or covers(self.inside, cell) or covers(self.life.caught, cell)
            # The kind of what lies on the stack counts for the verifier even if nothing looks at it.
            watched = watched or isinstance(cell, Somewhere)
            if watched and covers(self.life.carried, cell) and there in self.life.before:
                inside.append(cell)
            elif cell in self.changed:
                behind.append(cell)
            elif there in self.life.before:
                before.append(cell)
        behind += (cell for cell in leaving if cell not in behind)
        return Hidden(tuple(before), tuple(inside), tuple(behind), measured(self.known, result=self.result))


def _calls(part: object) -> bool:
    """Whether functions are called that may stay functions, by the program or by helpers."""
    return any(
        isinstance(node, tree.FunctionCall | tree.LoopCall | tree.FunctionHandle) for node in nodes(part)
    )


def _counts(loop: Loop) -> bool:
    """Whether the verifier follows the iterations."""
    return loop.driver is tree.LoopDriver.COUNTER


# ---------------------------------------------------------------- how many


def _values(cell: Cell, ones: list[Assignment], asked: Counter[Read]) -> int:
    """How many numbers a cell may have where a loop begins, or tests in it find it to be."""
    if isinstance(cell, tree.Local) and isinstance(cell.type, Bool):
        return 2
    constants = [one.constant for one in ones if one.constant is not None]
    if len(constants) == len(ones) and ones:
        return len(set(constants))
    return 1 + asked[cell]


def _ways(growing: dict[Cell, list[Assignment]], trips: int, exits: int) -> int:
    """In about how many ways the verifier walks through all iterations. ``exits``: of the loops inside, as a power of
    two."""
    numbers = math.prod(_numbers(cell, ones, trips) for cell, ones in growing.items())
    if numbers <= REMEMBERED:
        again = math.prod(max(1, trips // FORGETTING) for _ in list(growing)[1:])
        return numbers * (1 + sum(len(ones) for ones in growing.values())) * again
    ways = sum(one.times for ones in growing.values() for one in ones) + exits
    return 1 << min(ways * trips, 60)


def _numbers(cell: Cell, ones: list[Assignment], trips: int) -> int:
    """How many numbers ``ones`` may lead to in ``trips`` iterations."""
    if isinstance(cell, tree.Local) and isinstance(cell.type, Bool):
        return 2
    spread, free, constants = 0, 0, 1
    for one in ones:
        if one.step is not None:
            spread += one.step * one.times * trips
        elif one.constant is not None and not isinstance(cell, Somewhere):
            constants += 1
        else:
            free += one.times * trips
    ways = sum(one.times for one in ones) * trips
    return min(constants * (spread + 1) << min(free, 30), 1 << min(ways, 30))
