"""Live ranges cut into pieces: what the colouring assigns registers to.

A *piece* is a stretch of a value's life inside one block during which it stays in one register. ``cut`` makes
them from the spill plan: at every block boundary, at every instruction with fixed registers or clobbers and at
every reload a new piece begins. Within a block, pieces are intervals, and after each constrained instruction all
registers can be chosen afresh, so a colouring always exists; coalescing then makes most of the cuts disappear.

Time is counted in *points*, numbered through the whole function, three per instruction: ARRIVE (what the
instruction before has written is there), READ (after the moves and reloads in front of the instruction, while it
reads) and LOSE (when it clobbers). One more ARRIVE ends each block. The occupancy of a piece is an integer with a
bit per point: two pieces interfere exactly if their occupancies share a bit, and so do the unions of pieces that
coalescing makes.
"""

from __future__ import annotations

from pyebpf.backend.flow import PHASE, REGISTERS, Flow, FlowBlock, Site
from pyebpf.backend.liveness import Liveness
from pyebpf.backend.residency import SpillPlan
from pyebpf.diagnostics import InternalError
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass, field

if TYPE_CHECKING:
    from typing import Final


MEMORY: Final = -1
ANY: Final = -1


@dataclass(frozen=True, slots=True)
class Affinity:
    """A copy that vanishes if both pieces get one register. ``weight`` is how often it would run."""

    weight: int
    left: int
    right: int


@dataclass(eq=False, slots=True)
class CutSite:
    """What stands in front of one instruction, and its registers.

    ``copies``: (value, source piece or ``MEMORY``, target piece), all at once; ``stores``: pieces to store before them.
    ``operands``: the piece of each operand (-1 for r10). ``swapped``: the operands that exchange places, if any.
    """

    copies: list[tuple[int, int, int]]
    stores: list[int]
    operands: list[int]
    swapped: tuple[int, int] | None = None


@dataclass(eq=False, slots=True)
class CutBlock:
    """The pieces at the boundaries of a block, by value; ``stores`` are those to store at its end."""

    entry: dict[int, int]
    exit: dict[int, int] = field(default_factory=dict)
    sites: list[CutSite] = field(default_factory=list)
    stores: list[int] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Pieces:
    """All pieces of a function, as parallel lists by piece number: value, occupancy, required register (or ``ANY``),
    block index, first point. ``busy``: by register, the points at which instructions clobber it."""

    value: list[int]
    occupancy: list[int]
    fixed: list[int]
    block: list[int]
    start: list[int]
    busy: list[int]
    blocks: list[CutBlock]
    affinities: list[Affinity]
    first_point: list[int]


def cut(flow: Flow, liveness: Liveness, plan: SpillPlan) -> Pieces:
    """The pieces of ``flow`` under ``plan``, with the affinities between them."""
    pieces = Pieces([], [], [], [], [], [0] * REGISTERS, [], [], [])
    point = 0
    for block in flow.blocks:
        pieces.first_point.append(point)
        pieces.blocks.append(_Cutter(flow, plan, pieces, block).run())
        point += 3 * len(block.sites) + 1
    _join_blocks(flow, liveness, pieces)
    return pieces


def _join_blocks(flow: Flow, liveness: Liveness, pieces: Pieces) -> None:
    """Affinities along the edges: a value with itself, an argument with the parameter."""
    for block in flow.blocks:
        leaving = pieces.blocks[block.index].exit
        for edge in block.edges:
            target = flow.blocks[edge.target]
            weight = min(block.frequency, target.frequency)
            params = dict(zip(target.params, edge.args, strict=True))
            for value, piece in pieces.blocks[edge.target].entry.items():
                source = leaving.get(params.get(value, value))
                if source is not None:
                    pieces.affinities.append(Affinity(weight, source, piece))


class _Cutter:
    """Cuts the live ranges of one block."""

    def __init__(self, flow: Flow, plan: SpillPlan, pieces: Pieces, block: FlowBlock) -> None:
        self.flow = flow
        self.plan = plan
        self.own = plan.blocks[block.index]
        self.pieces = pieces
        self.block = block
        self.base = pieces.first_point[block.index]
        self.to_store: list[int] = []
        self.fresh: set[int] = set()  # values whose current piece is in a fixed register just for now

    def run(self) -> CutBlock:
        block, base = self.block, self.base
        entry: dict[int, int] = {}
        for value in self.own.entry:
            if block.index == 0:
                entry[value] = self._define(value, base, self.flow.params.index(value) + 1)
            elif value in block.params:
                entry[value] = self._define(value, base)
            else:
                entry[value] = self._new(value, base)
        current = dict(entry)
        result = CutBlock(entry)
        for i, site in enumerate(block.sites):
            self.to_store += [current[v] for v in self.own.stores.get(i, ()) if v in self.plan.late]
            current = self._site(result, site, self.own.kept[i], self.own.defined[i], current, base + 3 * i)
        end = base + 3 * len(block.sites)
        for piece in current.values():
            self._end(piece, end)
        self.to_store += [
            current[v] for v in self.own.stores.get(len(block.sites), ()) if v in self.plan.late
        ]
        result.exit = current
        result.stores = self.to_store
        return result

    # ------------------------------------------------------------ pieces

    def _new(self, value: int, start: int, fixed: int = ANY) -> int:
        pieces = self.pieces
        pieces.value.append(value)
        pieces.occupancy.append(0)
        pieces.fixed.append(fixed)
        pieces.block.append(self.block.index)
        pieces.start.append(start)
        return len(pieces.value) - 1

    def _define(self, value: int, start: int, fixed: int = ANY) -> int:
        """A piece that begins with the definition of ``value``."""
        piece = self._new(value, start, fixed)
        if value in self.plan.spilled and value not in self.plan.late:
            self.to_store.append(piece)
        if fixed != ANY:
            self.fresh.add(value)
        return piece

    def _end(self, piece: int, last: int) -> None:
        start = self.pieces.start[piece]
        self.pieces.occupancy[piece] = (1 << last + 1) - (1 << start)

    def _copy(
        self,
        cut_site: CutSite,
        source: int,
        value: int,
        start: int,
        fixed: int = ANY,
        target: int | None = None,
    ) -> int:
        """A new piece of ``target`` (or ``value`` itself) that begins with a copy of ``value`` from ``source``."""
        piece = self._new(value if target is None else target, start, fixed)
        cut_site.copies.append((value, source, piece))
        if source != MEMORY:
            self.pieces.affinities.append(Affinity(self.block.frequency, source, piece))
        return piece

    # ------------------------------------------------------------ an instruction

    def _site(
        self,
        result: CutBlock,
        site: Site,
        keep: list[int],
        defined: set[int],
        old: dict[int, int],
        arrive: int,
    ) -> dict[int, int]:
        """Cut at ``site``; gives the pieces in registers after it."""
        read, lose, after = arrive + 1, arrive + 2, arrive + 3
        cut_site = CutSite([], self.to_store, [-1] * len(site.insn.operands))
        self.to_store = []
        result.sites.append(cut_site)
        operands = cut_site.operands
        kept = set(keep)
        new: dict[int, int] = {}
        ends: dict[int, int] = {}  # the last point of each piece that ends here
        for piece in old.values():
            ends[piece] = arrive
        lost = site.clobbers
        for _, _, register in site.fixed_defs:
            lost |= 1 << register
        in_place: dict[int, int] = {}
        for _, value, register in site.fixed_uses:
            if value in kept and value not in in_place and not lost >> register & 1:
                in_place[value] = register
        for value in keep:
            source = old.get(value, MEMORY)
            if source == MEMORY or site.constrained or value in self.fresh:
                new[value] = self._copy(cut_site, source, value, read, in_place.get(value, ANY))
            else:
                new[value] = source
                del ends[source]
        readable = dict(new)
        for operand, value, register in site.fixed_uses:
            if in_place.get(value) == register:
                operands[operand] = new[value]
                continue
            twin = next(
                (operands[o] for o, v, r in site.fixed_uses if r == register and operands[o] >= 0), -1
            )
            if twin < 0:
                twin = self._copy(cut_site, old.get(value, MEMORY), value, read, register)
                ends[twin] = read
                readable.setdefault(value, twin)
            operands[operand] = twin
        for def_operand, definition, use_operand, value in site.ties:
            piece = self._copy(cut_site, old.get(value, MEMORY), value, read, target=definition)
            if definition in self.plan.spilled and definition not in self.plan.late:
                self.to_store.append(piece)
            operands[def_operand] = operands[use_operand] = piece
            readable.setdefault(value, piece)
            self._finish_definition(defined, definition, piece, after, new)
            reuse = site.insn.operands[def_operand].reuse
            if reuse is not None and reuse != use_operand:
                cut_site.swapped = (reuse, use_operand)
        for operand, value in site.plain:
            if value not in readable:
                source = old.get(value, MEMORY)
                if source == MEMORY or site.constrained or value in self.fresh:
                    source = self._copy(cut_site, source, value, read)
                readable[value] = source
                ends[source] = read
            operands[operand] = readable[value]
        for operand, value, early in site.plain_defs:
            piece = operands[operand] = self._define(value, read if early else after)
            self._finish_definition(defined, value, piece, after, new)
        self.fresh = set(in_place)
        for operand, value, register in site.fixed_defs:
            piece = operands[operand] = self._define(value, after, register)
            self._finish_definition(defined, value, piece, after, new)
        for piece, last in ends.items():
            self._end(piece, last)
        for register in range(REGISTERS):
            if site.clobbers >> register & 1:
                self.pieces.busy[register] |= 1 << lose
        return new

    def _finish_definition(
        self, defined: set[int], value: int, piece: int, after: int, new: dict[int, int]
    ) -> None:
        if value in defined:
            new[value] = piece
        else:
            self._end(piece, after)


def check_fixed(flow: Flow, pieces: Pieces) -> list[int]:
    """By register, the points at which it is taken by clobbers and by pieces that must be in it.

    Raises ``InternalError`` if two pieces must be in one register at one point.
    """
    taken = list(pieces.busy)
    for piece, register in enumerate(pieces.fixed):
        if register != ANY:
            if taken[register] & pieces.occupancy[piece]:
                block = flow.blocks[pieces.block[piece]]
                raise InternalError(
                    f"r{register} is needed twice at once in block {block.block.name}",
                    phase=PHASE,
                    function=flow.function.name,
                )
            taken[register] |= pieces.occupancy[piece]
    return taken
