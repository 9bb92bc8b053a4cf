"""Coalescing: pieces of live ranges joined into webs that will share one register.

Joining is aggressive in the order of the affinities' weights (Chaitin, 1981), with two conservative tests. Webs that
cross calls have only the preserved registers, so a join may not put more than four of them at one point. And a join
must save more than it costs by barring the parts from the fixed registers that they are copied to or from. Webs that
still cannot be coloured are taken apart again by ``coloring``, in the manner of optimistic coalescing (Park and
Moon, "Optimistic register coalescing", 1998): what was joined too eagerly costs one copy at the cheapest place.
"""

from __future__ import annotations

from pyebpf.backend.flow import REGISTERS
from pyebpf.backend.pieces import ANY, Affinity, Pieces
from pyebpf.records import dataclass


@dataclass(eq=False, slots=True)
class Web:
    """Pieces that share a register. ``occupancy`` is the union of theirs."""

    pieces: list[int]
    occupancy: int


class Saturation:
    """At how many points how many webs overlap, counted up to ``limit`` in bit-sliced form."""

    def __init__(self, limit: int) -> None:
        self._at_least = [0] * limit  # index k: the points where more than k webs are

    def fits(self, occupancy: int) -> bool:
        """Whether one more web at these points stays within the limit."""
        return not self._at_least[-1] & occupancy

    def add(self, occupancy: int) -> None:
        """Count a web at these points."""
        for k, points in enumerate(self._at_least):
            self._at_least[k] = points | occupancy
            occupancy &= points


def allowed_registers(occupancy: int, taken: list[int]) -> int:
    """The registers, as bits, that are free at all points of ``occupancy``."""
    mask = 0
    for register in range(REGISTERS):
        if not taken[register] & occupancy:
            mask |= 1 << register
    return mask


def coalesce(pieces: Pieces, taken: list[int], preserved: int) -> list[Web]:
    """Webs of the pieces without a required register.

    ``taken``: by register, points that fixed pieces and clobbers occupy. ``preserved``: the registers, as bits, that
    webs across calls are restricted to.
    """
    count = len(pieces.value)
    parent = list(range(count))
    occupancy = list(pieces.occupancy)
    allowed = [
        0 if r != ANY else allowed_registers(o, taken) for o, r in zip(occupancy, pieces.fixed, strict=True)
    ]
    saturation = Saturation(preserved.bit_count())
    for o, a in zip(occupancy, allowed, strict=True):
        if a and not a & ~preserved:
            saturation.add(o)
    wishes = _wishes(pieces, allowed)
    # Pieces of one web are disjoint, so counting pieces counts webs.
    for affinity in sorted(pieces.affinities, key=_by_weight):
        a, b = affinity.left, affinity.right
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a == b or occupancy[a] & occupancy[b]:
            continue
        both = allowed[a] & allowed[b]
        if not both:
            continue
        joint = {r: wishes[a].get(r, 0) + wishes[b].get(r, 0) for r in wishes[a] | wishes[b] if both >> r & 1}
        lost = (
            max(wishes[a].values(), default=0)
            + max(wishes[b].values(), default=0)
            - max(joint.values(), default=0)
        )
        if lost >= affinity.weight:
            continue  # as good apart, and freer
        if not both & ~preserved:
            new = (occupancy[a] if allowed[a] & ~preserved else 0) | (
                occupancy[b] if allowed[b] & ~preserved else 0
            )
            if new:
                if not saturation.fits(new):
                    continue
                saturation.add(new)
        parent[b] = a
        occupancy[a] |= occupancy[b]
        allowed[a] = both
        wishes[a] = joint
    webs: dict[int, Web] = {}
    for piece in range(count):
        if pieces.fixed[piece] != ANY:
            continue
        root = piece
        while parent[root] != root:
            root = parent[root]
        web = webs.get(root)
        if web is None:
            webs[root] = Web([piece], occupancy[root])
        else:
            web.pieces.append(piece)
    return list(webs.values())


def _wishes(pieces: Pieces, allowed: list[int]) -> list[dict[int, int]]:
    """For each piece, how much copying each register saves because pieces fixed there are copied to or from it."""
    wishes: list[dict[int, int]] = [{} for _ in pieces.value]
    for affinity in pieces.affinities:
        for piece, other in ((affinity.left, affinity.right), (affinity.right, affinity.left)):
            register = pieces.fixed[other]
            if register != ANY and allowed[piece] >> register & 1:
                wishes[piece][register] = wishes[piece].get(register, 0) + affinity.weight
    return wishes


def _by_weight(affinity: Affinity) -> int:
    return -affinity.weight
