"""Register allocation: virtual registers become r0…r9 and slots of the frame.

The function is in SSA form, which lets spilling and colouring be separate (Hack, Grund and Goos, "Register
allocation for programs in SSA-form", CC 2006):

1. ``flow`` sorts what each instruction demands and removes the copies of the input;
2. ``liveness`` finds which values are needed and how far ahead;
3. ``spill`` decides what is in a register where, so that everywhere few enough values are (Belady's rule, with
   live ranges split around calls and constants made anew), ``residency`` what that means for memory;
4. ``pieces`` cuts live ranges at blocks, calls and reloads, so that a colouring surely exists;
5. ``coalesce``, ``coloring`` and ``recoloring`` join the pieces again and give them registers, so that few copies
   remain;
6. here, the result is written back: operands become registers, the copies that remain become instructions
   (``moves``), also those on the edges.

Cuts at all blocks make the φs of split live ranges (SSA reconstruction) unnecessary: the copies on the edges are
those φs. ``frame`` lays out the stack frame afterwards; ``allocation_check`` proves a result right in the tests.
"""

from __future__ import annotations

from pyebpf.backend import coloring, flow, frame, liveness, moves, spill
from pyebpf.backend import pieces as live_ranges
from pyebpf.backend.flow import REGISTERS, Flow, FlowBlock, FlowEdge, Site
from pyebpf.backend.liveness import Liveness
from pyebpf.backend.machine import Edge, FrameSlot, MachineFunction, MachineInsn, PReg
from pyebpf.backend.moves import SLOT_SIZE, Move
from pyebpf.backend.pieces import MEMORY, CutBlock, CutSite, Pieces
from pyebpf.backend.residency import SpillPlan
from pyebpf.diagnostics import Span
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import replace

if TYPE_CHECKING:
    from typing import Final


_LABEL: Final = "spill"


def allocate(function: MachineFunction, *, late_stores: bool = False) -> None:
    """Give every virtual register of ``function`` a machine register, in place.

    ``late_stores``: store a spilled value where it leaves its register, not where it is defined, if possible. That is
    for kernels before 6.9, whose verifier does not apply a check of a register to a copy spilled before the check.

    Afterwards all operands are ``PReg``; blocks have no parameters and edges no arguments, moves do their work;
    spill slots are in ``function.slots``. Blocks that are never reached are gone. Frame offsets are not set: call
    ``frame.layout`` then.

    Raises ``InternalError`` if the machine IR breaks its contract, or one instruction's constraints cannot be met.
    """
    analysed = flow.analyse(function)
    live = liveness.compute(analysed)
    plan = spill.plan(analysed, live, late_stores=late_stores)
    pieces = live_ranges.cut(analysed, live, plan)
    registers = coloring.color(analysed, pieces)
    _Rewriter(analysed, live, plan, pieces, registers).run()


class _Rewriter:
    """Writes an allocation into the function."""

    def __init__(
        self, analysed: Flow, live: Liveness, plan: SpillPlan, pieces: Pieces, registers: list[int]
    ) -> None:
        self.flow = analysed
        self.live = live
        self.plan = plan
        self.pieces = pieces
        self.registers = registers
        self.slots = self._spill_slots()
        self.aside: list[FrameSlot] = []
        self.occupied = [0] * REGISTERS
        for piece, register in enumerate(registers):
            self.occupied[register] |= pieces.occupancy[piece]

    def run(self) -> None:
        function = self.flow.function
        edge_code = [self._edges(block) for block in self.flow.blocks]
        before: dict[int, list[MachineInsn]] = {}
        for block, codes in zip(self.flow.blocks, edge_code, strict=True):
            if len(block.edges) > 1:
                for edge, code in zip(block.edges, codes, strict=True):
                    before[edge.target] = code
        for block, codes in zip(self.flow.blocks, edge_code, strict=True):
            insns = before.get(block.index, [])
            insns = insns + self._block(block)
            if len(block.edges) == 1:
                insns += codes[0]
            block.block.insns[:] = insns
        for block in self.flow.blocks:
            block.block.params = ()
            block.block.edges = tuple(Edge(e.target) for e in block.block.edges)
        function.params = tuple(PReg(i + 1) for i in range(len(function.params)))
        function.slots.extend(dict.fromkeys(self.slots.values()))
        function.slots.extend(self.aside)

    # ------------------------------------------------------------ inside a block

    def _block(self, block: FlowBlock) -> list[MachineInsn]:
        out: list[MachineInsn] = []
        cut_block: CutBlock = self.pieces.blocks[block.index]
        point = self.pieces.first_point[block.index]
        for site, cut_site in zip(block.sites, cut_block.sites, strict=True):
            span = site.insn.span
            self._stores(cut_site.stores, span, out)
            if cut_site.copies:
                wanted = [
                    self._move(self.registers[target], source, value)
                    for value, source, target in cut_site.copies
                ]
                out += self._resolve(wanted, self._free(point, point + 1), span)
            out.append(self._rewritten(site, cut_site))
            point += 3
        self._stores(cut_block.stores, None, out)
        return out

    def _stores(self, stored: list[int], span: Span | None, out: list[MachineInsn]) -> None:
        for piece in stored:
            value = self.pieces.value[piece]
            out.append(moves.store(self.slots[value], self.registers[piece], span, f"spill v{value}"))

    def _move(self, target: int, piece: int, value: int) -> Move:
        """``value`` into a register: from the register it is in, from its slot, or made anew.

        A constant is made anew even where a register holds it, if that takes no more space than a move: then the move
        waits for nothing."""
        definition = self.flow.remat.get(value)
        if piece == MEMORY:
            return Move(target, definition if definition is not None else self.slots[value])
        source = self.registers[piece]
        if definition is not None and source != target and definition.slots == 1:
            return Move(target, definition)
        return Move(target, source)

    def _rewritten(self, site: Site, cut_site: CutSite) -> MachineInsn:
        insn = site.insn
        operands = [
            o if piece < 0 else replace(o, reg=PReg(self.registers[piece]))
            for o, piece in zip(insn.operands, cut_site.operands, strict=True)
        ]
        if cut_site.swapped is not None:
            a, b = cut_site.swapped
            operands[a], operands[b] = operands[b], operands[a]
        insn.operands = tuple(operands)
        return insn

    def _free(self, *points: int) -> list[int]:
        """Registers that hold nothing at any of ``points``."""
        mask = 0
        for point in points:
            mask |= 1 << point
        return [r for r in range(REGISTERS) if not self.occupied[r] & mask]

    def _resolve(self, wanted: list[Move], free: list[int], span: Span | None) -> list[MachineInsn]:
        """Instructions for parallel moves. What they put aside for the moment goes to the same few slots each time."""
        unused = iter(self.aside)

        def put_aside() -> FrameSlot:
            slot = next(unused, None)
            if slot is None:
                slot = FrameSlot(SLOT_SIZE, SLOT_SIZE, "aside")
                self.aside = [*self.aside, slot]  # a new list: the iterator goes over the old one
            return slot

        return moves.resolve(wanted, free, put_aside, span)

    # ------------------------------------------------------------ edges

    def _edges(self, block: FlowBlock) -> list[list[MachineInsn]]:
        end = self.pieces.first_point[block.index] + 3 * len(block.sites)
        span = block.sites[-1].insn.span if block.sites else None
        return [self._edge(block, edge, end, span) for edge in block.edges]

    def _edge(self, block: FlowBlock, edge: FlowEdge, end: int, span: Span | None) -> list[MachineInsn]:
        leaving = self.pieces.blocks[block.index].exit
        entering = self.pieces.blocks[edge.target].entry
        target = self.flow.blocks[edge.target]
        live = self.live.live_in[edge.target]
        args = dict(zip(target.params, edge.args, strict=True))
        wanted: list[Move] = []
        for value, piece in entering.items():
            arg = args.get(value, value)
            wanted.append(self._move(self.registers[piece], leaving.get(arg, MEMORY), arg))
        for param, arg in args.items():
            if param not in entering and live >> param & 1:
                elsewhere = self.flow.remat.get(arg) or self.slots.get(arg)
                if elsewhere is self.slots[param] and not (arg in leaving and arg in self.plan.late):
                    continue  # it is there already
                source = self.registers[leaving[arg]] if arg in leaving else elsewhere
                assert source is not None, "a value is nowhere"
                wanted.append(Move(self.slots[param], source))
        if not wanted:
            return []
        free = self._free(end, self.pieces.first_point[edge.target])
        return self._resolve(wanted, free, span)

    # ------------------------------------------------------------ slots

    def _spill_slots(self) -> dict[int, FrameSlot]:
        """A slot for every spilled value, shared by values that do not live together."""
        spilled = self.plan.spilled
        if not spilled:
            return {}
        occupancy = dict.fromkeys(sorted(spilled), 0)
        affinities: list[tuple[int, int, int]] = []
        for block in self.flow.blocks:
            base = self.pieces.first_point[block.index]
            end = base + 3 * len(block.sites)
            live_in, live_out = self.live.live_in[block.index], self.live.live_out[block.index]
            first = {v: base for v in spilled if live_in >> v & 1}
            last = {v: end for v in spilled if live_out >> v & 1}
            for i, site in enumerate(block.sites):
                for value in site.defs:
                    if value in spilled:
                        first[value] = base + 3 * i + 1
                        last.setdefault(value, base + 3 * i + 3)
                for value in site.uses:
                    if value in spilled and not live_out >> value & 1:
                        last[value] = base + 3 * i + 1
            for value, start in first.items():
                occupancy[value] |= (1 << last[value] + 1) - (1 << start)
            for edge in block.edges:
                for param, arg in zip(self.flow.blocks[edge.target].params, edge.args, strict=True):
                    if param in spilled and arg in spilled:
                        affinities.append((block.frequency, param, arg))
        numbers = frame.share(occupancy, affinities)
        slots = {n: FrameSlot(SLOT_SIZE, SLOT_SIZE, _LABEL) for n in sorted(set(numbers.values()))}
        return {value: slots[n] for value, n in numbers.items()}
