"""Which values are in registers where: spilling and live-range splitting, before any register is chosen.

``plan`` walks the blocks in reverse postorder and decides, for every instruction, which values stay in registers
across it, so that everywhere at most ten are, and across an instruction that clobbers registers or demands certain
ones only as many as the rest can hold (four at a call). It evicts the value whose next use is farthest (Belady's
MIN, extended to control flow after Braun and Hack, "Register spilling and live-range splitting for SSA-form
programs", CC 2009), rematerialisable values before all others, and those that are in memory already before those
that would need a store. A value that is not in a register is reloaded (or made anew) in front of its next use and
stays from then on.

Rematerialisable values never stay across an instruction that clobbers: to make one again costs an instruction, as
would the copy out of a preserved register.

Where paths meet, a value is in a register if it is on all of them; a block parameter goes by what loads and stores on
the edges would cost; a loop header takes first what changes in the loop. ``residency`` completes the plan.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pyebpf.backend import residency
from pyebpf.backend.flow import PHASE, REGISTERS, Flow, FlowBlock, Site
from pyebpf.backend.liveness import LOOP_EXIT_DISTANCE, NEVER, Liveness
from pyebpf.backend.residency import BlockPlan, SpillPlan
from pyebpf.diagnostics import InternalError
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass

if TYPE_CHECKING:
    from typing import Final


_PREFER_REMAT: Final = 1 << 40
_PRESERVED: Final = 4
# What may be in registers where paths meet, if not all fits: the rest is for what comes next, and for exchanges.
_ROOM: Final = 9
_ROOM_AT_CALLS: Final = 7


def plan(flow: Flow, liveness: Liveness, *, late_stores: bool = False) -> SpillPlan:
    """Decide for ``flow`` what is in registers where. ``late_stores``: see ``residency``.

    Raises ``InternalError`` if one instruction alone needs more registers than there are.
    """
    return _Planner(flow, liveness, late_stores).run()


class _Planner:
    """The state of one run of ``plan``."""

    def __init__(self, flow: Flow, liveness: Liveness, late_stores: bool) -> None:
        self.flow = flow
        self.liveness = liveness
        self.late_stores = late_stores
        count = len(flow.blocks)
        self.plan = SpillPlan([BlockPlan() for _ in flow.blocks])
        self.done = [False] * count
        self.depth = _definition_depths(flow)
        # What is only copied into fixed or tied registers is made right there each time.
        plain = {v for block in flow.blocks for site in block.sites for _, v in site.plain}
        self.constants = plain.intersection(flow.remat)
        self.pressure = _Pressure(flow, liveness)

    def run(self) -> SpillPlan:
        for block in self.flow.blocks:
            self.plan.blocks[block.index].entry = self._entry(block)
            self._walk(block)
            self.done[block.index] = True
        residency.settle(self.flow, self.liveness, self.plan, late_stores=self.late_stores)
        return self.plan

    # ------------------------------------------------------------ within a block

    def _walk(self, block: FlowBlock) -> None:
        index = block.index
        remat, spilled = self.flow.remat, self.plan.spilled
        own = self.plan.blocks[index]
        distance = self.liveness.distance_in[index]
        next_use = {v: distance[v] for v in own.entry}  # of the values in registers, in order of arrival
        for i, site in enumerate(block.sites):
            after = site.after
            keep: list[int] = []
            for value, position in next_use.items():
                if after.get(value, position) < NEVER:
                    keep.append(value)
            for value in site.uses:
                if value not in next_use:
                    if value not in remat:
                        spilled.add(value)
                    if after[value] < NEVER and any(v == value for _, v in site.plain):
                        keep.append(value)
            if site.clobbers:
                keep = [v for v in keep if v not in remat]
            if len(keep) + len(site.defs) + max(len(site.uses), site.forbidden.bit_count()) > REGISTERS:
                keep = self._evict(block, i, site, keep, next_use)
            next_use = {v: after.get(v, next_use.get(v, NEVER)) for v in keep}
            defined = {v for v in site.defs if after[v] < NEVER}
            for value in defined:
                next_use[value] = after[value]
            own.kept.append(keep)
            own.defined.append(defined)
        own.exit = set(next_use)

    def _evict(
        self, block: FlowBlock, i: int, site: Site, keep: list[int], next_use: dict[int, int]
    ) -> list[int]:
        """``keep`` without the values that cannot stay, the ones needed last going first."""
        after, remat, spilled = site.after, self.flow.remat, self.plan.spilled

        def cost(value: int) -> int:
            distance = after.get(value, next_use.get(value, NEVER)) - i
            if value in remat:
                return distance + _PREFER_REMAT
            return distance * 2 if value in spilled or self.depth[value] < block.depth else distance

        keep = sorted(keep, key=cost)
        while (shortage := demand(site, keep)) > 0:
            if not keep:
                raise InternalError(
                    f"an instruction needs {shortage} registers more than there are",
                    phase=PHASE,
                    function=self.flow.function.name,
                    span=site.insn.span,
                )
            keep.pop()
        return keep

    # ------------------------------------------------------------ at the start of a block

    def _entry(self, block: FlowBlock) -> list[int]:
        """The values that are in registers at the start of ``block``."""
        live = self.liveness.live_in[block.index]
        if not block.preds:
            return [v for v in block.params if live >> v & 1]
        known = [p for p in block.preds if self.done[p]]
        if len(known) < len(block.preds):
            return self._loop_entry(block, known)
        if len(known) == 1 and not block.params:
            return [v for v in self.plan.blocks[known[0]].exit if live >> v & 1]
        return self._join_entry(block, known)

    def _join_entry(self, block: FlowBlock, known: list[int]) -> list[int]:
        """The same where paths meet: what is there on all of them, and what is used right here."""
        live = self.liveness.live_in[block.index]
        distance = self.liveness.distance_in[block.index]
        call = self.liveness.clobber_in[block.index]
        remat = self.flow.remat
        counts: dict[int, int] = {}
        for p in known:
            for value in self.plan.blocks[p].exit:
                if live >> value & 1:
                    counts[value] = counts.get(value, 0) + 1
        chosen = [v for v, n in counts.items() if n == len(known)]
        survivors = sorted((v for v in distance if distance[v] > call), key=distance.__getitem__)[:_PRESERVED]
        for i, param in enumerate(block.params):
            if live >> param & 1:
                stays = distance[param] <= call or param in survivors
                loads, stores = self._passing(block, i)
                # In a register it costs the loads, and a store if it does not stay; else the stores, and a reload if
                # it could have stayed.
                if loads + (not stays) <= stores + stays:
                    chosen.append(param)
        chosen = sorted(chosen, key=lambda v: (v in remat, distance[v]))[:REGISTERS]
        for value in sorted(counts, key=distance.__getitem__):
            missing = len(known) - counts[value]
            if (
                missing == 1
                and value not in remat
                and len(chosen) < _ROOM
                and distance[value] < min(call, len(block.sites))
            ):
                chosen.append(value)
        return chosen

    def _passing(self, block: FlowBlock, index: int) -> tuple[int, int]:
        """On how many edges an argument of ``block`` comes from memory only, and from a register only."""
        loads = stores = 0
        for p in block.preds:
            [edge] = self.flow.blocks[p].edges
            arg = edge.args[index]
            if arg in self.flow.remat or arg in self.plan.blocks[p].exit or not self.done[p]:
                stores += arg not in self.plan.spilled
            else:
                loads += 1
        return loads, stores

    def _loop_entry(self, block: FlowBlock, known: list[int]) -> list[int]:
        """The same for the header of a loop, whose ends are not known yet: if all fits, what is there before the loop;
        else what changes in the loop and is used soon, then what else it uses."""
        distance = self.liveness.distance_in[block.index]
        call = self.liveness.clobber_in[block.index]
        remat = self.flow.remat
        pressure = self.pressure.of_loop(block.index)
        over = max(pressure.total - REGISTERS, pressure.across - _PRESERVED)
        nearest = sorted((v for v in distance if v not in remat), key=distance.__getitem__)
        used = [v for v in nearest if distance[v] < LOOP_EXIT_DISTANCE]
        through = [v for v in nearest if distance[v] >= LOOP_EXIT_DISTANCE and self._in_any(v, known)]
        soon = [v for v in used if v in block.params and distance[v] <= call]
        chosen = soon + [v for v in used if v not in soon]
        if over > 0:
            chosen += through[: max(0, len(through) - over)]
            return chosen[: _ROOM_AT_CALLS if pressure.across else _ROOM]
        chosen += through
        if not pressure.across:
            constants = sorted((v for v in distance if v in self.constants), key=distance.__getitem__)
            chosen += [v for v in constants if distance[v] < LOOP_EXIT_DISTANCE][: REGISTERS - pressure.total]
        return chosen[:REGISTERS]

    def _in_any(self, value: int, preds: Iterable[int]) -> bool:
        return any(value in self.plan.blocks[p].exit for p in preds)


def _definition_depths(flow: Flow) -> list[int]:
    """By value, how deep in loops it is defined."""
    depths = [0] * flow.values
    for block in flow.blocks:
        for value in block.params:
            depths[value] = block.depth
        for site in block.sites:
            for value in site.defs:
                depths[value] = block.depth
    return depths


def demand(site: Site, keep: Collection[int]) -> int:
    """How many registers too few there are if ``keep`` stay in registers across ``site``; not positive if it fits."""
    fixed = {register: value for _, value, register in site.fixed_uses}
    plain = {v for _, v in site.plain}
    early = sum(1 for _, _, e in site.plain_defs if e)
    kept = set(keep)
    # Values that stay may sit in the fixed register they are used in, if it survives.
    lost = site.clobbers
    for _, _, register in site.fixed_defs:
        lost |= 1 << register
    placed = {v for register, v in fixed.items() if v in kept and not lost >> register & 1}
    tied = {v for _, _, _, v in site.ties}
    readable = kept | set(fixed.values()) | tied
    reading = len(kept) - len(placed) + len(fixed) + len(plain - readable) + len(site.ties) + early
    writing = len(kept) + len(site.defs)
    surviving = len(kept) - len(placed) + bin(site.forbidden).count("1")
    if site.constrained:  # these are in their registers from before to after
        surviving += len(site.ties) + early
    return max(reading, writing, surviving) - REGISTERS


@dataclass(frozen=True, slots=True)
class _LoopPressure:
    """The most values alive at once in a loop: anywhere (``total``), across what clobbers (``across``)."""

    total: int
    across: int


class _Pressure:
    """Register pressure of loops, without rematerialisable values."""

    def __init__(self, flow: Flow, liveness: Liveness) -> None:
        self._flow = flow
        self._counted = ~flow.remat_mask
        self._liveness = liveness
        self._blocks: dict[int, _LoopPressure] = {}

    def of_loop(self, header: int) -> _LoopPressure:
        """The pressure of the loop with this header (a block that is the target of a back edge)."""
        blocks = [self._of_block(i) for i in self._flow.loops[header].body]
        return _LoopPressure(max(b.total for b in blocks), max(b.across for b in blocks))

    def _of_block(self, index: int) -> _LoopPressure:
        if index not in self._blocks:
            block = self._flow.blocks[index]
            live = self._liveness.live_out[index] & self._counted
            total, across = live.bit_count(), 0
            for site in reversed(block.sites):
                for value in site.defs:
                    live &= ~(1 << value)
                if site.clobbers:
                    across = max(across, live.bit_count(), 1)
                for value in site.uses:
                    live |= 1 << value & self._counted
                total = max(total, live.bit_count())
            self._blocks[index] = _LoopPressure(total, across)
        return self._blocks[index]
