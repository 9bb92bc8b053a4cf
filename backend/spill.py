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

Since the input is SSA, one store after the definition serves all reloads: no store is needed anywhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from pyebpf.backend.flow import PHASE, REGISTERS, Flow, FlowBlock, Site
from pyebpf.backend.liveness import LOOP_EXIT_DISTANCE, NEVER, Liveness
from pyebpf.diagnostics import InternalError

_PREFER_REMAT: Final = 1 << 40
_PRESERVED: Final = 4
# What may be in registers where paths meet, if not all fits: the rest is for what comes next, and for exchanges.
_ROOM: Final = 9
_ROOM_AT_CALLS: Final = 7


@dataclass(eq=False, slots=True)
class SpillPlan:
    """By block index: the values in registers at the start (``entry``) and end (``exit``), and for every site those
    that stay in registers across it (``kept``) and those of its definitions that stay from then on (``defined``).
    ``spilled``: the values that are stored to the frame."""

    entry: list[list[int]]
    exit: list[set[int]]
    kept: list[list[list[int]]]
    defined: list[list[set[int]]]
    spilled: set[int]


def plan(flow: Flow, liveness: Liveness) -> SpillPlan:
    """Decide for ``flow`` what is in registers where.

    Raises ``InternalError`` if one instruction alone needs more registers than there are.
    """
    return _Planner(flow, liveness).run()


class _Planner:
    """The state of one run of ``plan``."""

    def __init__(self, flow: Flow, liveness: Liveness) -> None:
        self.flow = flow
        self.liveness = liveness
        count = len(flow.blocks)
        self.plan = SpillPlan(
            [[] for _ in range(count)],
            [set() for _ in range(count)],
            [[] for _ in range(count)],
            [[] for _ in range(count)],
            set(),
        )
        self.done = [False] * count
        self.depth = _definition_depths(flow)
        # What is only copied into fixed or tied registers is made right there each time.
        plain = {v for block in flow.blocks for site in block.sites for _, v in site.plain}
        self.constants = plain.intersection(flow.remat)
        self.pressure = _Pressure(flow, liveness)

    def run(self) -> SpillPlan:
        for block in self.flow.blocks:
            self.plan.entry[block.index] = self._entry(block)
            self._walk(block)
            self.done[block.index] = True
        self._trim()
        self._find_spilled()
        return self.plan

    # ------------------------------------------------------------ within a block

    def _walk(self, block: FlowBlock) -> None:
        index = block.index
        remat, spilled = self.flow.remat, self.plan.spilled
        entry = self.plan.entry[index]
        distance = self.liveness.distance_in[index]
        next_use = {v: distance[v] for v in entry}  # of the values in registers, in order of arrival
        kept_lists = self.plan.kept[index]
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
            kept_lists.append(keep)
            self.plan.defined[index].append(defined)
        self.plan.exit[index] = set(next_use)

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
            return [v for v in self.plan.exit[known[0]] if live >> v & 1]
        return self._join_entry(block, known)

    def _join_entry(self, block: FlowBlock, known: list[int]) -> list[int]:
        """The same where paths meet: what is there on all of them, and what is used right here."""
        live = self.liveness.live_in[block.index]
        distance = self.liveness.distance_in[block.index]
        call = self.liveness.clobber_in[block.index]
        remat = self.flow.remat
        counts: dict[int, int] = {}
        for p in known:
            for value in self.plan.exit[p]:
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
            if arg in self.flow.remat or arg in self.plan.exit[p] or not self.done[p]:
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
        return any(value in self.plan.exit[p] for p in preds)

    # ------------------------------------------------------------ afterwards

    def _trim(self) -> None:
        """Let values leave their registers after the last use there, not only when others need the room.

        This is liveness again, of values in registers: what is evicted before its next use is dead until then.
        """
        plan, flow = self.plan, self.flow
        needed: list[set[int]] = [set() for _ in flow.blocks]  # in registers at the start
        changed = True
        while changed:
            changed = False
            for block in reversed(flow.blocks):
                now = self._trim_block(block, needed, apply=False)
                if len(now) > len(needed[block.index]):
                    needed[block.index] = now
                    changed = True
        for block in flow.blocks:
            self._trim_block(block, needed, apply=True)
        for block in flow.blocks:
            now = needed[block.index]
            plan.entry[block.index] = [v for v in plan.entry[block.index] if v in now or v in block.params]

    def _trim_block(self, block: FlowBlock, needed: list[set[int]], apply: bool) -> set[int]:
        """The values that are needed in registers at the start of ``block``."""
        plan = self.plan
        index = block.index
        live = plan.exit[index] & self._needed_after(block, needed)
        if apply:
            plan.exit[index] = live
        kept, defined = plan.kept[index], plan.defined[index]
        for i in range(len(block.sites) - 1, -1, -1):
            site = block.sites[i]
            if apply:
                kept[i] = [v for v in kept[i] if v in live]
                defined[i] = {v for v in defined[i] if v in live}
            live = live.intersection(kept[i])
            live.update(site.uses)
            before = {*kept[i - 1], *defined[i - 1]} if i else set(plan.entry[index])
            live &= before
        return live

    def _needed_after(self, block: FlowBlock, needed: list[set[int]]) -> set[int]:
        """The values that the successors of ``block`` take from registers, if they are there."""
        result: set[int] = set()
        for edge in block.edges:
            target = self.flow.blocks[edge.target]
            result |= needed[edge.target].difference(target.params)
            live = self.liveness.live_in[edge.target]
            result.update(a for p, a in zip(target.params, edge.args, strict=True) if live >> p & 1)
        return result

    def _find_spilled(self) -> None:
        """The values that are loaded from memory anywhere, in front of uses or on edges."""
        remat, spilled = self.flow.remat, self.plan.spilled
        spilled.clear()
        for block in self.flow.blocks:
            present = set(self.plan.entry[block.index])
            lists = zip(block.sites, self.plan.kept[block.index], self.plan.defined[block.index], strict=True)
            for site, kept, defined in lists:
                spilled.update(v for v in site.uses if v not in present and v not in remat)
                present = {*kept, *defined}
            for edge in block.edges:
                target = self.flow.blocks[edge.target]
                live = self.liveness.live_in[edge.target]
                params = set(target.params)
                loaded = [v for v in self.plan.entry[edge.target] if v not in params]
                loaded += [a for p, a in zip(target.params, edge.args, strict=True) if live >> p & 1]
                spilled.update(v for v in loaded if v not in self.plan.exit[block.index] and v not in remat)
        for block in self.flow.blocks:
            live, entry = self.liveness.live_in[block.index], self.plan.entry[block.index]
            spilled.update(p for p in block.params if live >> p & 1 and p not in entry)


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
