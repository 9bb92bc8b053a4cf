"""Recolouring: a local search after all pieces have registers.

As long as giving a group of pieces another register saves copies, it gets it, and what is there already goes
elsewhere; a group is what affinities hold together in one register, or the part of that in one block, or one piece.
The idea is that of Hack and Goos, "Copy coalescing by graph recoloring", PLDI 2008; since every state is a valid
colouring, the search may stop anywhere.
"""

from __future__ import annotations

from pyebpf import enums
from pyebpf.backend.assignment import ORDER, Assignment
from pyebpf.backend.pieces import ANY
from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


_ROUNDS: Final = 4


class _Share(enums.Enum):
    """How much moves along when a piece has to make room."""

    GROUP = "group"  # all that its affinities hold together in one register
    BLOCKS = "blocks"  # of that, what is in the same blocks as what it makes room for
    PIECE = "piece"


def improve(state: Assignment) -> None:
    """Give groups of pieces other registers as long as that saves copies."""
    for _ in range(_ROUNDS):
        changed = False
        for affinity in sorted(state.pieces.affinities, key=lambda a: -a.weight):
            left, right = affinity.left, affinity.right
            if state.color[left] != state.color[right]:
                changed |= (
                    _unite(state, left, right)
                    or _unite(state, right, left)
                    or _unite_elsewhere(state, left, right)
                )
        if not changed:
            break


def _unite(state: Assignment, piece: int, other: int) -> bool:
    """Try to bring ``piece`` into the register of ``other``: with all of its group, with its block, or alone."""
    if state.pieces.fixed[piece] != ANY:
        return False
    target = state.color[other]
    group = _group(state, piece)
    block = state.pieces.block[piece]
    local = [p for p in group if state.pieces.block[p] == block]
    candidates = [group]
    if len(local) < len(group):
        candidates.append(local)
    if len(local) > 1:
        candidates.append([piece])
    return any(_relocate(state, candidate, target) for candidate in candidates)


def _unite_elsewhere(state: Assignment, left: int, right: int) -> bool:
    """Try to bring the groups of both into a third register."""
    if state.pieces.fixed[left] != ANY or state.pieces.fixed[right] != ANY:
        return False
    one, two = _group(state, left), _group(state, right)
    if state.occupancy(one) & state.occupancy(two):
        return False
    now = (state.color[left], state.color[right])
    return any(_relocate(state, one + two, register) for register in ORDER if register not in now)


def _group(state: Assignment, piece: int) -> list[int]:
    """``piece`` and all that its affinities connect it with in the same register, but for pieces that are fixed."""
    register, fixed = state.color[piece], state.pieces.fixed
    group = [piece]
    seen = {piece}
    for member in group:
        for partner, _ in state.partners[member]:
            if partner not in seen and state.color[partner] == register and fixed[partner] == ANY:
                seen.add(partner)
                group.append(partner)
    return group


def _relocate(state: Assignment, group: list[int], target: int) -> bool:
    """Put ``group`` into register ``target`` if that saves copies; what is in its way there goes elsewhere, as
    little of it as the saving needs."""
    occupancy = state.occupancy(group)
    if state.fixed_points[target] & occupancy or _gain(state, group, target) <= 0:
        return False
    if not state.used[target] & occupancy:
        state.release(group)
        state.assign(group, target)
        return True
    return any(_displace(state, group, target, _in_way(state, group, occupancy, target, s)) for s in _Share)


def _displace(state: Assignment, group: list[int], target: int, rivals: list[list[int]]) -> bool:
    """Put ``group`` into register ``target`` and each of ``rivals``, which are there, where it costs least."""
    affected = group + [p for rival in rivals for p in rival]
    registers = [state.color[p] for p in affected]
    broken = _broken(state, affected)
    state.release(affected)
    state.assign(group, target)
    for rival in rivals:
        choices = state.free(state.occupancy(rival))
        if not choices:
            break
        state.assign(rival, state.preferred(rival, choices))
    else:
        if _broken(state, affected) < broken:
            return True
    state.release(p for p in affected if state.color[p] >= 0)
    for piece, register in zip(affected, registers, strict=True):
        state.assign([piece], register)
    return False


def _in_way(
    state: Assignment, group: list[int], occupancy: int, target: int, share: _Share
) -> list[list[int]]:
    """What is in register ``target`` at points of ``occupancy``: ``share`` of each group of pieces."""
    points = state.pieces.occupancy
    rivals: list[list[int]] = []
    seen: set[int] = set()
    blocks = dict.fromkeys(state.pieces.block[g] for g in group)
    for block in blocks:
        for piece in state.members[block]:
            if state.color[piece] == target and points[piece] & occupancy and piece not in seen:
                match share:
                    case _Share.GROUP:
                        rival = _group(state, piece)
                    case _Share.BLOCKS:
                        rival = [p for p in _group(state, piece) if state.pieces.block[p] in blocks]
                    case _Share.PIECE:
                        rival = [piece]
                seen.update(rival)
                rivals.append(rival)
    return rivals


def _gain(state: Assignment, group: list[int], target: int) -> int:
    """How much copying moving ``group`` to ``target`` saves, if nothing else moves."""
    inside = set(group)
    color = state.color
    gain = 0
    for piece in group:
        now = color[piece]
        for partner, weight in state.partners[piece]:
            register = color[partner]
            if partner in inside:
                gain += weight if register != now and piece < partner else 0
            elif register == target:
                gain += weight
            elif register == now:
                gain -= weight
    return gain


def _broken(state: Assignment, members: list[int]) -> int:
    """The copying that affinities of ``members`` cost as things stand."""
    inside = set(members)
    color = state.color
    return sum(
        weight
        for piece in members
        for partner, weight in state.partners[piece]
        if color[piece] != color[partner] and (partner not in inside or piece < partner)
    )
