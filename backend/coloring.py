"""Choosing registers: the webs are coloured so that few copies remain.

The order is that of Chaitin and Briggs: webs that surely get a register, however their neighbours are coloured, go
last (Briggs, Cooper and Torczon, "Improvements to graph coloring register allocation", 1994). A web takes the
register that most of its affinities want. One that finds no register is taken apart: the register that keeps most
of its affinities whole gets the pieces that fit there, the rest tries again. A single piece that finds none has its
whole block coloured anew, piece by piece in the order of time, which always succeeds (see ``pieces``). ``recoloring``
improves the result.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pyebpf.backend import recoloring
from pyebpf.backend.assignment import ORDER, UNCOLOURED, Assignment
from pyebpf.backend.coalesce import Web, allowed_registers, coalesce
from pyebpf.backend.flow import PHASE, Flow
from pyebpf.backend.machine import CALLEE_SAVED
from pyebpf.backend.pieces import ANY, Pieces
from pyebpf.diagnostics import InternalError
from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


_PRESERVED: Final = sum(1 << r for r in CALLEE_SAVED)


def color(flow: Flow, pieces: Pieces) -> list[int]:
    """The register of every piece.

    Raises ``InternalError`` if the constraints of one instruction contradict each other.
    """
    state = Assignment(flow, pieces)
    webs = coalesce(pieces, state.fixed_points, _PRESERVED)
    failed: dict[int, None] = {}  # blocks where a piece found no register
    for web in _selection_order(state, webs):
        failed |= dict.fromkeys(_select(state, web))
    for block in failed:
        _color_block(flow, state, block)
    recoloring.improve(state)
    return state.color


# ---------------------------------------------------------------- order


def _selection_order(state: Assignment, webs: Sequence[Web]) -> list[Web]:
    """The webs in the order in which they choose: what is hard to colour first, of that what matters most first."""
    neighbours = _interference(state, webs)
    room = [allowed_registers(w.occupancy, state.fixed_points).bit_count() for w in webs]
    weight = [sum(w for p in web.pieces for _, w in state.partners[p]) for web in webs]
    degree = [len(n) for n in neighbours]
    left = set(range(len(webs)))
    easy = [i for i in left if degree[i] < room[i]]
    queued = set(easy)
    stack: list[int] = []
    while left:
        i = easy.pop() if easy else min(left, key=lambda j: (weight[j] / (degree[j] + 1 - room[j]), j))
        left.discard(i)
        queued.add(i)
        stack.append(i)
        for n in neighbours[i]:
            if n in left:
                degree[n] -= 1
                if degree[n] < room[n] and n not in queued:
                    queued.add(n)
                    easy.append(n)
    stack.reverse()
    return [webs[i] for i in stack]


def _interference(state: Assignment, webs: Sequence[Web]) -> list[set[int]]:
    """For each web the others that are alive at the same time somewhere."""
    web_of = {piece: i for i, web in enumerate(webs) for piece in web.pieces}
    neighbours: list[set[int]] = [set() for _ in webs]
    occupancy, start = state.pieces.occupancy, state.pieces.start
    for members in state.members:
        active: list[tuple[int, int]] = []  # last point, web
        for piece in sorted((p for p in members if p in web_of), key=start.__getitem__):
            begin, web = start[piece], web_of[piece]
            active = [a for a in active if a[0] >= begin]
            for _, other in active:
                neighbours[web].add(other)
                neighbours[other].add(web)
            active.append((occupancy[piece].bit_length() - 1, web))
    return neighbours


# ---------------------------------------------------------------- selection


def _select(state: Assignment, web: Web) -> list[int]:
    """Colour ``web``, in parts if need be; gives the blocks of the pieces that found no register."""
    failed: list[int] = []
    work = [web.pieces]
    while work:
        members = work.pop()
        registers = state.free(state.occupancy(members))
        if registers:
            state.assign(members, state.preferred(members, registers))
        elif part := _best_part(state, members):
            register, chosen = part
            state.assign(chosen, register)
            taken = set(chosen)
            work.extend(_components(state, [p for p in members if p not in taken]))
        else:
            failed.extend(state.pieces.block[p] for p in members)
    return failed


def _best_part(state: Assignment, members: Sequence[int]) -> tuple[int, list[int]] | None:
    """The register and the connected part of ``members`` that fits there with the most affinities left whole."""
    best: tuple[int, int, int, list[int]] | None = None
    everybody = set(members)
    for register in ORDER:
        fitting = [p for p in members if not state.used[register] & state.pieces.occupancy[p]]
        for component in _components(state, fitting):
            inside = set(component)
            whole = 0
            for piece in component:
                for partner, weight in state.partners[piece]:
                    if partner in inside:
                        whole += weight  # counted from both its ends
                    elif partner not in everybody and state.color[partner] == register:
                        whole += 2 * weight
            if best is None or (whole, len(component)) > best[:2]:
                best = (whole, len(component), register, component)
    return None if best is None else best[2:]


def _components(state: Assignment, members: Sequence[int]) -> list[list[int]]:
    """``members`` in groups that are connected by affinities."""
    left = set(members)
    groups: list[list[int]] = []
    for first in members:
        if first in left:
            left.discard(first)
            group = [first]
            for piece in group:
                for partner, _ in state.partners[piece]:
                    if partner in left:
                        left.discard(partner)
                        group.append(partner)
            groups.append(group)
    return groups


# ---------------------------------------------------------------- one block, always possible


def _color_block(flow: Flow, state: Assignment, block: int) -> None:
    """Colour all pieces of ``block`` anew, in the order of time."""
    pieces = state.pieces
    members = [p for p in state.members[block] if pieces.fixed[p] == ANY]
    before = {p: state.color[p] for p in members}
    state.release(p for p in members if state.color[p] != UNCOLOURED)
    by_start: dict[int, list[int]] = defaultdict(list)
    for piece in members:
        by_start[pieces.start[piece]].append(piece)
    for start in sorted(by_start):
        choices: dict[int, list[int]] = {}
        for piece in by_start[start]:
            free = state.free(pieces.occupancy[piece])
            wishes = [state.preferred([piece], free) if free else UNCOLOURED, before[piece]]
            choices[piece] = [r for r in dict.fromkeys([*wishes, *free]) if r in free]
        chosen = _match(choices)
        if len(chosen) < len(choices):
            raise InternalError(
                f"no register is left in block {flow.blocks[block].block.name}",
                phase=PHASE,
                function=flow.function.name,
            )
        for piece, register in chosen.items():
            state.assign([piece], register)


def _match(choices: dict[int, list[int]]) -> dict[int, int]:
    """A different register for as many pieces as possible out of their choices: a matching by augmenting paths."""
    owner: dict[int, int] = {}

    def place(piece: int, tried: set[int]) -> bool:
        for register in choices[piece]:
            if register not in tried:
                tried.add(register)
                if register not in owner or place(owner[register], tried):
                    owner[register] = piece
                    return True
        return False

    for piece in sorted(choices, key=lambda p: len(choices[p])):
        place(piece, set())
    return {piece: register for register, piece in owner.items()}
