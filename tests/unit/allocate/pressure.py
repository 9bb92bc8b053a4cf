"""How many values of a machine function are alive at once, counted without the allocator's own analyses."""

from __future__ import annotations

from pyebpf.backend.machine import MachineFunction, Role, VReg


def pressure(function: MachineFunction) -> int:
    """The greatest number of values, other than constants that can be made anew, that are alive together."""
    cheap = {
        o.reg for b in function.blocks for i in b.insns if i.remat for o in i.operands if o.role is Role.DEF
    }
    live_in: dict[int, frozenset[VReg]] = {id(block): frozenset() for block in function.blocks}
    most, changed = 0, True
    while changed:
        changed = False
        for block in reversed(function.blocks):
            live: set[VReg] = set()
            for edge in block.edges:
                live |= live_in[id(edge.target)].difference(
                    p for p in edge.target.params if isinstance(p, VReg)
                )
                live.update(a for a in edge.args if isinstance(a, VReg))
            most = max(most, len(live - cheap))
            for insn in reversed(block.insns):
                live.difference_update(
                    o.reg for o in insn.operands if o.role is Role.DEF and isinstance(o.reg, VReg)
                )
                live.update(o.reg for o in insn.operands if o.role is Role.USE and isinstance(o.reg, VReg))
                most = max(most, len(live - cheap))
            if live != live_in[id(block)]:
                live_in[id(block)] = frozenset(live)
                changed = True
    return most
