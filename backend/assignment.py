"""Which piece is in which register: the state that colouring works on, and its elementary steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyebpf.backend.flow import REGISTERS, Flow
from pyebpf.backend.pieces import Pieces, check_fixed
from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


UNCOLOURED: Final = -1
# Where nothing else decides: the registers that calls ask for least first, the preserved ones last.
ORDER: Final = (5, 4, 3, 2, 1, 0, 6, 7, 8, 9)


class Assignment:
    """Registers of pieces.

    ``color``: by piece, its register or ``UNCOLOURED``. ``used``: by register, the points at which it is occupied, and
    ``fixed_points`` those that pieces fixed there and clobbers occupy. ``partners``: by piece, the pieces it has
    affinities with, and their weights. ``members``: by block index, its pieces.

    Raises ``InternalError`` if the constraints of one instruction contradict each other.
    """

    def __init__(self, flow: Flow, pieces: Pieces) -> None:
        self.pieces = pieces
        self.fixed_points = check_fixed(flow, pieces)
        self.used = list(self.fixed_points)
        self.color = list(pieces.fixed)
        self.partners: list[list[tuple[int, int]]] = [[] for _ in pieces.value]
        for affinity in pieces.affinities:
            self.partners[affinity.left].append((affinity.right, affinity.weight))
            self.partners[affinity.right].append((affinity.left, affinity.weight))
        self.members: list[list[int]] = [[] for _ in flow.blocks]
        for piece, block in enumerate(pieces.block):
            self.members[block].append(piece)

    def occupancy(self, members: Iterable[int]) -> int:
        """The points at which any of ``members`` is alive."""
        points = 0
        for piece in members:
            points |= self.pieces.occupancy[piece]
        return points

    def free(self, occupancy: int) -> list[int]:
        """The registers that are free at all points of ``occupancy``."""
        return [r for r in ORDER if not self.used[r] & occupancy]

    def preferred(self, members: Iterable[int], registers: Sequence[int]) -> int:
        """The one of ``registers`` in which most of the affinities of ``members`` are."""
        wanted = [0] * REGISTERS
        for piece in members:
            for partner, weight in self.partners[piece]:
                register = self.color[partner]
                if register >= 0:
                    wanted[register] += weight
        return max(registers, key=wanted.__getitem__)

    def assign(self, members: Iterable[int], register: int) -> None:
        """Put ``members`` into ``register``, which is free for them."""
        for piece in members:
            self.color[piece] = register
            self.used[register] |= self.pieces.occupancy[piece]

    def release(self, members: Iterable[int]) -> None:
        """Take ``members`` out of their registers."""
        for piece in members:
            self.used[self.color[piece]] &= ~self.pieces.occupancy[piece]
            self.color[piece] = UNCOLOURED
