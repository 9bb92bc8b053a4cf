"""What a spill plan amounts to: how long values stay in registers, which are in memory, and where they are stored.

``spill`` decides block by block, looking ahead only by distances, and lets values stay until others need the room.
``settle`` looks at the whole plan afterwards:

* A value that is evicted before it is used again leaves its register after its last use there (liveness once more, of
  values in registers). That makes room for coalescing, and drops reloads on edges that would serve no use.
* A value that is loaded from memory anywhere has to be stored. In SSA form one store does, after the definition: then
  the register is free the soonest. On request, where there is one place at which the value first leaves its register,
  the store stands there instead, after the checks that the program makes on the value before: until Linux 6.9 the
  verifier does not know that a spilled number and the register it came from are the same, so that it knows of the copy
  in memory only what it knew at the store.
"""

from __future__ import annotations

from pyebpf.backend.flow import Flow, FlowBlock
from pyebpf.backend.liveness import NEVER, Liveness
from pyebpf.records import dataclass, field


@dataclass(eq=False, slots=True)
class BlockPlan:
    """What is in registers in one block: at its start (``entry``) and end (``exit``), and for every site the values
    that stay across it (``kept``) and those of its definitions that stay from then on (``defined``). ``stores``: the
    values to store in front of a site, or at the end (index: number of sites)."""

    entry: list[int] = field(default_factory=list)
    exit: set[int] = field(default_factory=set)
    kept: list[list[int]] = field(default_factory=list)
    defined: list[set[int]] = field(default_factory=list)
    stores: dict[int, list[int]] = field(default_factory=dict)

    def before(self, site: int) -> set[int]:
        """The values in registers when control comes to ``site``."""
        return {*self.kept[site - 1], *self.defined[site - 1]} if site else set(self.entry)


@dataclass(eq=False, slots=True)
class SpillPlan:
    """What is in registers where. ``spilled``: the values that are stored to the frame; ``late``: those of them that
    are not stored where they are defined, but where ``BlockPlan.stores`` says."""

    blocks: list[BlockPlan]
    spilled: set[int] = field(default_factory=set)
    late: set[int] = field(default_factory=set)


def settle(flow: Flow, liveness: Liveness, plan: SpillPlan, *, late_stores: bool) -> None:
    """Complete ``plan``, which the walk over the blocks has filled. ``late_stores``: store after checks, see above."""
    plan.spilled = _loaded(flow, liveness, plan)
    if late_stores:
        _place_stores(flow, liveness, plan)
    _trim(flow, liveness, plan)
    plan.spilled = _loaded(flow, liveness, plan)
    plan.late &= plan.spilled


def _loaded(flow: Flow, liveness: Liveness, plan: SpillPlan) -> set[int]:
    """The values that are loaded from memory in front of uses or on edges, and parameters that arrive there."""
    loaded: set[int] = set()
    for block in flow.blocks:
        own = plan.blocks[block.index]
        for i, site in enumerate(block.sites):
            loaded.update(set(site.uses) - own.before(i))
        for edge in block.edges:
            target = flow.blocks[edge.target]
            live = liveness.live_in[edge.target]
            entering = plan.blocks[edge.target].entry
            wanted = {v for v in entering if v not in target.params}
            wanted.update(a for p, a in zip(target.params, edge.args, strict=True) if live >> p & 1)
            loaded.update(wanted - own.exit)
            loaded.update(p for p in target.params if live >> p & 1 and p not in entering)
    return loaded.difference(flow.remat)


# ---------------------------------------------------------------- stores


def _place_stores(flow: Flow, liveness: Liveness, plan: SpillPlan) -> None:
    """Find for each spilled value the one place where it first leaves its register, if there is just one.

    *Fresh* is what may be in its register without interruption since it was defined.
    """
    fresh: list[set[int]] = [set() for _ in flow.blocks]
    work = [b.index for b in flow.blocks]
    work.reverse()
    waiting = set(work)
    while work:
        block = flow.blocks[work.pop()]
        waiting.discard(block.index)
        leaving = _follow(flow, liveness, plan, block, fresh[block.index], None)
        for edge in block.edges:
            target = flow.blocks[edge.target]
            arriving = leaving.intersection(plan.blocks[edge.target].entry).difference(target.params)
            if not arriving <= fresh[edge.target]:
                fresh[edge.target] |= arriving
                if edge.target not in waiting:
                    waiting.add(edge.target)
                    work.append(edge.target)
    drops: dict[int, list[tuple[int, int]]] = {}
    for block in flow.blocks:
        _follow(flow, liveness, plan, block, fresh[block.index], drops)
    for value, places in drops.items():
        if value in plan.spilled and len(places) == 1:
            [(index, site)] = places
            plan.late.add(value)
            plan.blocks[index].stores.setdefault(site, []).append(value)


def _follow(
    flow: Flow,
    liveness: Liveness,
    plan: SpillPlan,
    block: FlowBlock,
    fresh: set[int],
    drops: dict[int, list[tuple[int, int]]] | None,
) -> set[int]:
    """What is fresh at the end of ``block``, given what is at its start; notes in ``drops`` where values leave."""
    own = plan.blocks[block.index]
    now = fresh.union(p for p in block.params if p in own.entry)
    for i, site in enumerate(block.sites):
        stay = now.intersection(own.kept[i])
        if drops is not None and len(stay) < len(now):
            for value in sorted(now - stay):
                if site.after.get(value, 0) < NEVER:
                    drops.setdefault(value, []).append((block.index, i))
        now = stay | own.defined[i]
    if drops is not None and len(block.edges) == 1:
        [edge] = block.edges
        live = liveness.live_in[edge.target]
        taken = plan.blocks[edge.target].entry
        for value in sorted(now):
            if live >> value & 1 and value not in taken and value not in flow.blocks[edge.target].params:
                drops.setdefault(value, []).append((block.index, len(block.sites)))
    return now


# ---------------------------------------------------------------- trimming


def _trim(flow: Flow, liveness: Liveness, plan: SpillPlan) -> None:
    """Let values leave their registers after the last use there."""
    needed: list[set[int]] = [set() for _ in flow.blocks]  # in registers at the start
    changed = True
    while changed:
        changed = False
        for block in reversed(flow.blocks):
            now = _needed(flow, liveness, plan, block, needed, apply=False)
            if len(now) > len(needed[block.index]):
                needed[block.index] = now
                changed = True
    for block in flow.blocks:
        _needed(flow, liveness, plan, block, needed, apply=True)
    for block in flow.blocks:
        own, now = plan.blocks[block.index], needed[block.index]
        own.entry = [v for v in own.entry if v in now or v in block.params]


def _needed(
    flow: Flow, liveness: Liveness, plan: SpillPlan, block: FlowBlock, needed: list[set[int]], *, apply: bool
) -> set[int]:
    """The values that are needed in registers at the start of ``block``; with ``apply``, removes the others."""
    own = plan.blocks[block.index]
    live = _needed_after(flow, liveness, block, needed)
    live.update(own.stores.get(len(block.sites), ()))
    live &= own.exit
    if apply:
        own.exit = live
    for i in range(len(block.sites) - 1, -1, -1):
        if apply:
            own.kept[i] = [v for v in own.kept[i] if v in live]
            own.defined[i] = {v for v in own.defined[i] if v in live}
        live = live.intersection(own.kept[i])
        live.update(block.sites[i].uses)
        live.update(own.stores.get(i, ()))
        live &= own.before(i)
    return live


def _needed_after(flow: Flow, liveness: Liveness, block: FlowBlock, needed: list[set[int]]) -> set[int]:
    """The values that the successors of ``block`` take from registers, if they are there."""
    result: set[int] = set()
    for edge in block.edges:
        target = flow.blocks[edge.target]
        result |= needed[edge.target].difference(target.params)
        live = liveness.live_in[edge.target]
        result.update(a for p, a in zip(target.params, edge.args, strict=True) if live >> p & 1)
    return result
