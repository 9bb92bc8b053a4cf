"""Choosing registers: the webs are coloured so that few copies remain.

The order is that of Chaitin and Briggs: webs that surely get a register, however their neighbours are coloured, go
last (Briggs, Cooper and Torczon, "Improvements to graph coloring register allocation", 1994). A web takes the
register that most of its affinities want. One that finds no register is taken apart: the register that keeps most
of its affinities whole gets the pieces that fit there, the rest tries again. A single piece that finds none has its
whole block coloured anew, piece by piece in the order of time, which always succeeds (see ``pieces``).

Then a local search follows: as long as moving a web, or a part of one that has one register, to another register
saves copies, it is moved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from pyebpf.backend.coalesce import Web, allowed_registers, coalesce
from pyebpf.backend.flow import PHASE, REGISTERS, Flow
from pyebpf.backend.machine import CALLEE_SAVED
from pyebpf.backend.pieces import ANY, Pieces, check_fixed
from pyebpf.diagnostics import InternalError

_PRESERVED: Final = sum(1 << r for r in CALLEE_SAVED)
_UNCOLOURED: Final = -1
_ROUNDS: Final = 4
# Where nothing else decides: the registers that calls ask for least first, the preserved ones last.
_ORDER: Final = (5, 4, 3, 2, 1, 0, 6, 7, 8, 9)


def color(flow: Flow, pieces: Pieces) -> list[int]:
    """The register of every piece.

    Raises ``InternalError`` if the constraints of one instruction contradict each other.
    """
    return _Coloring(flow, pieces).run()


class _Coloring:
    """The state of one colouring. ``used``: by register, the points at which it is occupied."""

    def __init__(self, flow: Flow, pieces: Pieces) -> None:
        self.flow = flow
        self.pieces = pieces
        self.fixed_points = check_fixed(flow, pieces)
        self.used = list(self.fixed_points)
        self.color = list(pieces.fixed)
        self.partners: list[list[tuple[int, int]]] = [[] for _ in pieces.value]
        for affinity in pieces.affinities:
            self.partners[affinity.left].append((affinity.right, affinity.weight))
            self.partners[affinity.right].append((affinity.left, affinity.weight))
        self.failed_blocks: list[int] = []
        self.members: list[list[int]] = [[] for _ in flow.blocks]
        for piece, block in enumerate(pieces.block):
            self.members[block].append(piece)

    def run(self) -> list[int]:
        webs = coalesce(self.pieces, self.fixed_points, _PRESERVED)
        for web in self._order(webs):
            self._select(web)
        for block in self.failed_blocks:
            self._color_block(block)
        self._improve()
        return self.color

    # ------------------------------------------------------------ order

    def _order(self, webs: Sequence[Web]) -> list[Web]:
        """The webs in the order of selection."""
        neighbours = self._interference(webs)
        allowed = [allowed_registers(w.occupancy, self.fixed_points) for w in webs]
        room = [a.bit_count() for a in allowed]
        cost = [self._affinity_weight(w) for w in webs]
        degree = [len(n) for n in neighbours]
        left = set(range(len(webs)))
        easy = [i for i in left if degree[i] < room[i]]
        queued = set(easy)
        stack: list[int] = []
        while left:
            i = easy.pop() if easy else min(left, key=lambda j: (cost[j] / (degree[j] + 1 - room[j]), j))
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

    def _interference(self, webs: Sequence[Web]) -> list[set[int]]:
        """For each web the others that are live at the same time and could want the same register."""
        web_of = {}
        for i, web in enumerate(webs):
            for piece in web.pieces:
                web_of[piece] = i
        by_block: dict[int, list[int]] = defaultdict(list)
        for piece in web_of:
            by_block[self.pieces.block[piece]].append(piece)
        neighbours: list[set[int]] = [set() for _ in webs]
        occupancy, start = self.pieces.occupancy, self.pieces.start
        for in_block in by_block.values():
            in_block.sort(key=start.__getitem__)
            active: list[tuple[int, int]] = []  # last point, web
            for piece in in_block:
                begin, web_index = start[piece], web_of[piece]
                active = [a for a in active if a[0] >= begin]
                for _, other in active:
                    neighbours[web_index].add(other)
                    neighbours[other].add(web_index)
                active.append((occupancy[piece].bit_length() - 1, web_index))
        return neighbours

    def _affinity_weight(self, web: Web) -> int:
        return sum(weight for piece in web.pieces for _, weight in self.partners[piece])

    # ------------------------------------------------------------ selection

    def _select(self, web: Web) -> None:
        work = [web]
        while work:
            web = work.pop()
            registers = self._free(web.occupancy)
            if registers:
                self._assign(web.pieces, self._preferred(web.pieces, registers))
            elif len(web.pieces) == 1:
                self.failed_blocks.append(self.pieces.block[web.pieces[0]])
            else:
                work.extend(self._take_apart(web))

    def _free(self, occupancy: int) -> list[int]:
        return [r for r in _ORDER if not self.used[r] & occupancy]

    def _preferred(self, web: Iterable[int], registers: Sequence[int]) -> int:
        """The one of ``registers`` in which most of the web's affinities are."""
        wanted = [0] * REGISTERS
        for piece in web:
            for partner, weight in self.partners[piece]:
                register = self.color[partner]
                if register >= 0:
                    wanted[register] += weight
        return max(registers, key=wanted.__getitem__)

    def _assign(self, web: Iterable[int], register: int) -> None:
        for piece in web:
            self.color[piece] = register
            self.used[register] |= self.pieces.occupancy[piece]

    def _release(self, web: Iterable[int]) -> None:
        for piece in web:
            self.used[self.color[piece]] &= ~self.pieces.occupancy[piece]
            self.color[piece] = _UNCOLOURED

    def _take_apart(self, web: Web) -> list[Web]:
        """Colour the best part of ``web``; the connected rests are still to be coloured."""
        members = set(web.pieces)
        best: tuple[int, int, list[int]] | None = None
        for register in _ORDER:
            part = [p for p in web.pieces if not self.used[register] & self.pieces.occupancy[p]]
            for component in self._components(part):
                inside = set(component)
                kept = 0
                for piece in component:
                    for partner, weight in self.partners[piece]:
                        if partner in inside:
                            kept += weight
                        elif partner not in members and self.color[partner] == register:
                            kept += 2 * weight
                if best is None or (kept, len(component)) > (best[0], len(best[2])):
                    best = (kept, register, component)
        if best is None:  # not even one piece fits anywhere
            self.failed_blocks.extend(self.pieces.block[p] for p in web.pieces)
            return []
        _, register, part = best
        self._assign(part, register)
        taken = set(part)
        return [self._web(c) for c in self._components([p for p in web.pieces if p not in taken])]

    def _web(self, members: list[int]) -> Web:
        occupancy = 0
        for piece in members:
            occupancy |= self.pieces.occupancy[piece]
        return Web(members, occupancy)

    def _components(self, members: Sequence[int]) -> list[list[int]]:
        """``members`` in groups that are connected by affinities."""
        left = set(members)
        groups: list[list[int]] = []
        for first in members:
            if first in left:
                left.discard(first)
                group = [first]
                for piece in group:
                    for partner, _ in self.partners[piece]:
                        if partner in left:
                            left.discard(partner)
                            group.append(partner)
                groups.append(group)
        return groups

    # ------------------------------------------------------------ one block, always possible

    def _color_block(self, block: int) -> None:
        """Colour all pieces of ``block`` anew, in the order of time."""
        pieces = self.pieces
        members = [p for p in self.members[block] if pieces.fixed[p] == ANY]
        before = {p: self.color[p] for p in members}
        self._release(p for p in members if self.color[p] >= 0)
        by_start: dict[int, list[int]] = defaultdict(list)
        for piece in members:
            by_start[pieces.start[piece]].append(piece)
        for start in sorted(by_start):
            group = by_start[start]
            choices: dict[int, list[int]] = {}
            for piece in group:
                free = self._free(pieces.occupancy[piece])
                best = self._preferred([piece], free) if free else _UNCOLOURED
                choices[piece] = sorted(free, key=lambda r, b=best, o=before[piece]: (r != b, r != o))  # type: ignore[misc]
            for piece, register in self._match(choices).items():
                self._assign([piece], register)

    def _match(self, choices: dict[int, list[int]]) -> dict[int, int]:
        """A different register for each piece out of its choices: a matching by augmenting paths."""
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
            if not place(piece, set()):
                block = self.flow.blocks[self.pieces.block[piece]].block
                raise InternalError(
                    f"no register is left in block {block.name}",
                    phase=PHASE,
                    function=self.flow.function.name,
                )
        return {piece: register for register, piece in owner.items()}

    # ------------------------------------------------------------ improvement

    def _improve(self) -> None:
        """Give groups of pieces other registers as long as that saves copies."""
        for _ in range(_ROUNDS):
            changed = False
            for affinity in sorted(self.pieces.affinities, key=lambda a: -a.weight):
                left, right = affinity.left, affinity.right
                if self.color[left] != self.color[right]:
                    changed |= self._unite(left, right) or self._unite(right, left)
            if not changed:
                break

    def _unite(self, piece: int, other: int) -> bool:
        """Try to bring ``piece`` into the register of ``other``: alone, with its block, or with all of its group."""
        if self.pieces.fixed[piece] != ANY:
            return False
        target = self.color[other]
        group = self._group(piece)
        block = self.pieces.block[piece]
        local = [p for p in group if self.pieces.block[p] == block]
        candidates = [group]
        if len(local) < len(group):
            candidates.append(local)
        if len(local) > 1:
            candidates.append([piece])
        return any(self._move(candidate, target) for candidate in candidates)

    def _group(self, piece: int) -> list[int]:
        """``piece`` and all that its affinities connect it with in the same register, but for pieces that are fixed."""
        register, fixed = self.color[piece], self.pieces.fixed
        group = [piece]
        seen = {piece}
        for member in group:
            for partner, _ in self.partners[member]:
                if partner not in seen and self.color[partner] == register and fixed[partner] == ANY:
                    seen.add(partner)
                    group.append(partner)
        return group

    def _move(self, group: list[int], target: int) -> bool:
        """Put ``group`` into register ``target`` if that saves copies; what is in its way goes elsewhere."""
        source = self.color[group[0]]
        gain = self._gain(group, source, target)
        if gain <= 0:
            return False
        occupancy = self._web(group).occupancy
        if self.fixed_points[target] & occupancy:
            return False
        if not self.used[target] & occupancy:
            self._release(group)
            self._assign(group, target)
            return True
        return self._exchange(group, occupancy, source, target, gain)

    def _exchange(self, group: list[int], occupancy: int, source: int, target: int, gain: int) -> bool:
        """The same where other pieces are in the way: they get the register that costs least."""
        points = self.pieces.occupancy
        in_way = [
            p
            for block in dict.fromkeys(self.pieces.block[g] for g in group)
            for p in self.members[block]
            if self.color[p] == target and points[p] & occupancy
        ]
        rivals: list[int] = []
        seen: set[int] = set()
        for piece in in_way:
            if piece not in seen:
                component = self._group(piece)
                seen.update(component)
                rivals += component
        before = list(group) + rivals
        colors = [self.color[p] for p in before]
        self._release(before)
        self._assign(group, target)
        rival_occupancy = self._web(rivals).occupancy
        best = max(
            (
                (self._gain(rivals, target, register), register)
                for register in self._free(rival_occupancy)
                if register != target
            ),
            default=None,
        )
        if best is not None and best[0] + gain > 0:
            self._assign(rivals, best[1])
            return True
        self._release(group)
        for piece, register in zip(before, colors, strict=True):
            self._assign([piece], register)
        return False

    def _gain(self, group: list[int], source: int, target: int) -> int:
        """How much copying moving ``group`` from one register to another saves."""
        inside = set(group)
        gain = 0
        for piece in group:
            for partner, weight in self.partners[piece]:
                if partner not in inside:
                    register = self.color[partner]
                    if register == target:
                        gain += weight
                    elif register == source:
                        gain -= weight
        return gain
