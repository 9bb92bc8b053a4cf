"""Liveness and next-use distances of the values of a machine function.

Two backward data-flow analyses. Liveness is the classical one over sets of values (here integers with a bit per
value). Next-use distances (Belady, "A study of replacement algorithms for a virtual-storage computer", 1966; global
form in Braun and Hack, "Register spilling and live-range splitting for SSA-form programs", CC 2009) tell how many
instructions ahead a value is needed next, at the least over all paths, where leaving a loop and entering a block
that is marked unlikely count as far.

An argument of an edge counts as used only if the parameter is live: parameters that feed nothing but each other
are dead.
"""

from __future__ import annotations

from pyebpf.backend.flow import Flow, FlowBlock
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass

if TYPE_CHECKING:
    from typing import Final


NEVER: Final = 1 << 60
LOOP_EXIT_DISTANCE: Final = 100_000
UNLIKELY_DISTANCE: Final = 500


@dataclass(eq=False, slots=True)
class Liveness:
    """By block index. ``live_in`` has the live parameters too; ``distance_in`` is from the start of a block,
    ``distance_out`` from its end. ``clobber_in`` is the distance to the next instruction that clobbers."""

    live_in: list[int]
    live_out: list[int]
    distance_in: list[dict[int, int]]
    distance_out: list[dict[int, int]]
    clobber_in: list[int]
    clobber_out: list[int]


def compute(flow: Flow) -> Liveness:
    """Liveness and distances of ``flow``; also fills ``Site.after`` and chooses among the operands of commutative
    instructions which one the result is tied to: one that dies here, of two such the one in the result's phi web."""
    live_in, live_out = _live_sets(flow)
    if any(site.insn.commutative for block in flow.blocks for site in block.sites):
        crossing = _crossing(flow, live_out)
        for block in flow.blocks:
            _orient(flow, block, live_out[block.index], crossing)
    result = Liveness(live_in, live_out, [], [], [], [])
    _distances(flow, result)
    for block in flow.blocks:
        _fill_sites(block, result)
    return result


def _mask(values: tuple[int, ...]) -> int:
    mask = 0
    for value in values:
        mask |= 1 << value
    return mask


def _live_sets(flow: Flow) -> tuple[list[int], list[int]]:
    count = len(flow.blocks)
    gen, kill, params = [0] * count, [0] * count, [0] * count
    for block in flow.blocks:
        used = 0
        defined = block.rematerialised
        for site in block.sites:
            for value in site.uses:
                bit = 1 << value
                if not defined & bit:
                    used |= bit
            for value in site.defs:
                defined |= 1 << value
        gen[block.index], kill[block.index], params[block.index] = used, defined, _mask(block.params)
    live_in, live_out = list(gen), [0] * count
    changed = True
    while changed:
        changed = False
        for block in reversed(flow.blocks):
            i = block.index
            out = 0
            for edge in block.edges:
                target = live_in[edge.target]
                out |= target & ~params[edge.target]
                for param, arg in zip(flow.blocks[edge.target].params, edge.args, strict=True):
                    if target >> param & 1:
                        out |= 1 << arg
            live_out[i] = out
            new = gen[i] | out & ~kill[i]
            if new != live_in[i]:
                live_in[i] = new
                changed = True
    return live_in, live_out


def _crossing(flow: Flow, live_out: list[int]) -> int:
    """The values that live across an instruction that clobbers."""
    crossing = 0
    for block in flow.blocks:
        live = live_out[block.index]
        for site in reversed(block.sites):
            for value in site.defs:
                live &= ~(1 << value)
            if site.clobbers:
                crossing |= live
            for value in site.uses:
                live |= 1 << value
    return crossing


def _orient(flow: Flow, block: FlowBlock, live: int, crossing: int) -> None:
    """Swap the operands of commutative instructions where that makes the tie cheaper."""
    for site in reversed(block.sites):
        for value in site.defs:
            live &= ~(1 << value)
        if site.insn.commutative and site.ties:
            [(def_operand, definition, use_operand, tied)] = site.ties
            other = next(((i, v) for i, v in site.plain if v != tied), None)
            if other is not None:
                tied_score = _tie_score(flow, definition, tied, live, crossing)
                if _tie_score(flow, definition, other[1], live, crossing) > tied_score:
                    site.ties = ((def_operand, definition, other[0], other[1]),)
                    site.plain = tuple(p if p != other else (use_operand, tied) for p in site.plain)
        for value in site.uses:
            live |= 1 << value


def _tie_score(flow: Flow, definition: int, use: int, live: int, crossing: int) -> int:
    """How good it is that ``use`` is overwritten by ``definition``; ``live`` are the values needed afterwards."""
    if use in flow.remat:
        return 2  # made in place: as many instructions as a copy
    if live >> use & 1:
        return 1
    if flow.phi_web[definition] == flow.phi_web[use]:
        return 5
    # Both across calls, or neither: then they can do with one register.
    return 4 if (crossing >> definition & 1) == (crossing >> use & 1) else 3


def _distances(flow: Flow, result: Liveness) -> None:
    """Fixed point of the distances; they only fall, from ``NEVER``."""
    count = len(flow.blocks)
    first_use: list[dict[int, int]] = []
    first_clobber = [NEVER] * count
    for block in flow.blocks:
        first: dict[int, int] = {}
        for i in range(len(block.sites) - 1, -1, -1):
            site = block.sites[i]
            for value in site.uses:
                first[value] = i
            if site.clobbers:
                first_clobber[block.index] = i
        live = result.live_in[block.index]
        first_use.append({v: d for v, d in first.items() if live >> v & 1})
    result.distance_in = [dict(first) for first in first_use]
    result.distance_out = [{} for _ in range(count)]
    result.clobber_in = list(first_clobber)
    result.clobber_out = [NEVER] * count
    changed = True
    while changed:
        changed = False
        for block in reversed(flow.blocks):
            i = block.index
            length = len(block.sites)
            out = result.distance_out[i]
            clobber = NEVER
            for edge in block.edges:
                target = flow.blocks[edge.target]
                extra = LOOP_EXIT_DISTANCE * max(0, block.depth - target.depth)
                if target.block.unlikely and not block.block.unlikely:
                    extra += UNLIKELY_DISTANCE
                into = result.distance_in[edge.target]
                passed = result.live_in[edge.target]
                for value, distance in into.items():
                    if distance + extra < out.get(value, NEVER):
                        out[value] = distance + extra
                for param, arg in zip(target.params, edge.args, strict=True):
                    if passed >> param & 1:
                        out[arg] = 0
                clobber = min(clobber, result.clobber_in[edge.target] + extra)
            own = first_use[i]
            into = result.distance_in[i]
            live = result.live_in[i]
            for value, distance in out.items():
                if value not in own and live >> value & 1 and distance + length < into.get(value, NEVER):
                    into[value] = distance + length
                    changed = True
            result.clobber_out[i] = clobber
            if first_clobber[i] == NEVER and clobber + length < result.clobber_in[i]:
                result.clobber_in[i] = clobber + length
                changed = True
    for block in flow.blocks:  # a parameter of the target is another value there
        out, live = result.distance_out[block.index], result.live_out[block.index]
        for value in [v for v in out if not live >> v & 1]:
            del out[value]


def _fill_sites(block: FlowBlock, result: Liveness) -> None:
    length = len(block.sites)
    upcoming = {v: d + length for v, d in result.distance_out[block.index].items()}
    for i in range(length - 1, -1, -1):
        site = block.sites[i]
        after = {v: upcoming.get(v, NEVER) for v in site.uses}
        for value in site.defs:
            after[value] = upcoming.pop(value, NEVER)
        for value in site.uses:
            upcoming[value] = i
        site.after = after
