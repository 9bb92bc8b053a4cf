"""A machine function as register allocation sees it: numbered values, sites, blocks in reverse postorder, loops.

``analyse`` makes it. A *value* is a virtual register by its number, after copies were propagated: the result of
``move`` instructions is the value that they copy, so the moves of the input are gone (live ranges are split by
the allocator itself, where that pays). A *site* is an instruction with its operands sorted by what they demand.
Rematerialisable definitions have no site: such a value is made where it is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyebpf.backend.machine import (
    ALLOCATABLE,
    FRAME_POINTER,
    MachineBlock,
    MachineFunction,
    MachineInsn,
    Operand,
    Reg,
    Role,
    VReg,
)
from pyebpf.diagnostics import InternalError
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass, field

if TYPE_CHECKING:
    from typing import Final


PHASE: Final = "register allocation"
REGISTERS: Final = len(ALLOCATABLE)
MAX_DEPTH: Final = 5

# How often code runs, relative to a block outside of all loops. Size counts first: one level of looping is worth
# a few instructions, not ten.
NORMAL_FREQUENCY: Final = 8
LOOP_FACTOR: Final = 4
UNLIKELY_FACTOR: Final = 4


@dataclass(eq=False, slots=True)
class Site:
    """An instruction and its demands. Values are numbers; the operand index comes first in each tuple.

    ``plain``: uses in any register. ``fixed_uses``: (operand, value, register). ``ties``: (definition operand,
    definition, use operand, use) that share a register. ``plain_defs``: (operand, value, early). ``fixed_defs``:
    (operand, value, register). ``clobbers`` and ``forbidden`` are sets of registers as bits: those that lose their
    contents, and those in which nothing can live across the instruction. ``after``: for each value it mentions,
    where the next use is, in sites from the start of the block (``NEVER`` if there is none).
    """

    insn: MachineInsn
    plain: tuple[tuple[int, int], ...]
    fixed_uses: tuple[tuple[int, int, int], ...]
    ties: tuple[tuple[int, int, int, int], ...]
    plain_defs: tuple[tuple[int, int, bool], ...]
    fixed_defs: tuple[tuple[int, int, int], ...]
    clobbers: int
    forbidden: int
    uses: tuple[int, ...]
    defs: tuple[int, ...]
    constrained: bool
    after: dict[int, int] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class FlowEdge:
    """Control flow to the block with index ``target``; ``args`` are values, parallel to its parameters."""

    target: int
    args: tuple[int, ...]


@dataclass(eq=False, slots=True)
class FlowBlock:
    """A block. Sets of values are integers with a bit per value."""

    index: int
    block: MachineBlock
    sites: list[Site]
    params: tuple[int, ...]
    rematerialised: int
    edges: tuple[FlowEdge, ...] = ()
    preds: list[int] = field(default_factory=list)
    depth: int = 0
    frequency: int = NORMAL_FREQUENCY
    loops: list[int] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Loop:
    """A natural loop: the index of its header and of every block in it."""

    header: int
    body: set[int]


@dataclass(eq=False, slots=True)
class Flow:
    """A function to allocate. ``blocks`` are in reverse postorder, the entry first. ``remat`` maps a value to the
    instruction that makes it anew; ``phi_web`` to a number that it shares with the block parameters it is passed to."""

    function: MachineFunction
    blocks: list[FlowBlock]
    params: tuple[int, ...]
    remat: dict[int, MachineInsn]
    loops: dict[int, Loop]
    phi_web: list[int]
    values: int

    @property
    def remat_mask(self) -> int:
        """The rematerialisable values, as bits."""
        return sum(1 << v for v in self.remat)


def analyse(function: MachineFunction) -> Flow:
    """The view of ``function`` that the allocator works on. Blocks that control never reaches are removed from it.

    Raises ``InternalError`` where the machine IR breaks its contract.
    """
    order = _reverse_postorder(function.blocks[0])
    reachable = set(map(id, order))
    function.blocks[:] = [b for b in function.blocks if id(b) in reachable]
    names = _copies(function, order)
    remat: dict[int, MachineInsn] = {}
    blocks = [_flow_block(function, i, b, names, remat) for i, b in enumerate(order)]
    index = {id(b): i for i, b in enumerate(order)}
    for flow_block in blocks:
        edges = []
        for edge in flow_block.block.edges:
            target = index[id(edge.target)]
            if len(edge.args) != len(edge.target.params):
                raise InternalError(
                    f"edge {flow_block.block.name} → {edge.target.name} has a wrong number of arguments",
                    phase=PHASE,
                    function=function.name,
                )
            edges.append(FlowEdge(target, tuple(_value(function, a, names) for a in edge.args)))
            blocks[target].preds.append(flow_block.index)
        flow_block.edges = tuple(edges)
    _check_edges(function, blocks)
    loops = _find_loops(blocks)
    params = tuple(_value(function, p, names) for p in function.params)
    return Flow(function, blocks, params, remat, loops, _phi_webs(function, blocks), function.next_vreg)


def _reverse_postorder(entry: MachineBlock) -> list[MachineBlock]:
    seen = {id(entry)}
    order: list[MachineBlock] = []
    stack = [(entry, iter(reversed(entry.edges)))]
    while stack:
        block, edges = stack[-1]
        for edge in edges:
            if id(edge.target) not in seen:
                seen.add(id(edge.target))
                stack.append((edge.target, iter(reversed(edge.target.edges))))
                break
        else:
            order.append(block)
            stack.pop()
    order.reverse()
    return order


def _copies(function: MachineFunction, order: Sequence[MachineBlock]) -> list[int]:
    """For each virtual register the one that it is a copy of, or itself."""
    names = list(range(function.next_vreg))
    for block in order:  # a definition comes before its uses in this order, so one pass follows chains
        for insn in block.insns:
            if insn.move:
                target, source = insn.operands[0].reg, insn.operands[1].reg
                if isinstance(target, VReg) and isinstance(source, VReg):
                    names[target.id] = names[source.id]
    return names


def _value(function: MachineFunction, reg: Reg, names: Sequence[int]) -> int:
    if not isinstance(reg, VReg) or not 0 <= reg.id < len(names):
        raise InternalError(f"{reg} is no virtual register here", phase=PHASE, function=function.name)
    return names[reg.id]


def _flow_block(
    function: MachineFunction,
    index: int,
    block: MachineBlock,
    names: Sequence[int],
    remat: dict[int, MachineInsn],
) -> FlowBlock:
    sites: list[Site] = []
    rematerialised = 0
    for insn in block.insns:
        operands = insn.operands
        if insn.move and isinstance(operands[1].reg, VReg):
            continue
        if insn.remat and len(operands) == 1 and operands[0].fixed is None:
            value = _value(function, operands[0].reg, names)
            remat[value] = insn
            rematerialised |= 1 << value
            continue
        sites.append(_site(function, insn, names))
    params = tuple(_value(function, p, names) for p in block.params)
    return FlowBlock(index, block, sites, params, rematerialised)


def _site(function: MachineFunction, insn: MachineInsn, names: Sequence[int]) -> Site:
    """Sort the operands of ``insn`` by what they demand."""
    plain: list[tuple[int, int]] = []
    fixed_uses: list[tuple[int, int, int]] = []
    ties: list[tuple[int, int, int, int]] = []
    plain_defs: list[tuple[int, int, bool]] = []
    fixed_defs: list[tuple[int, int, int]] = []
    tied_uses: set[int] = set()
    operands = insn.operands
    for i, operand in enumerate(operands):
        if operand.role is Role.USE or _is_frame_pointer(operand):
            continue
        value = _value(function, operand.reg, names)
        if operand.reuse is None:
            if operand.fixed is None:
                plain_defs.append((i, value, operand.early))
            else:
                fixed_defs.append((i, value, operand.fixed))
            continue
        source = operands[operand.reuse]
        if source.role is not Role.USE or _is_frame_pointer(source):
            raise InternalError(
                f"operand {i} reuses operand {operand.reuse}, which is no use",
                phase=PHASE,
                function=function.name,
                span=insn.span,
            )
        register = operand.fixed if operand.fixed is not None else source.fixed
        if register is None:
            ties.append((i, value, operand.reuse, _value(function, source.reg, names)))
        else:
            if register != (register if source.fixed is None else source.fixed):
                raise _unsatisfiable(function, insn)
            fixed_defs.append((i, value, register))
            fixed_uses.append((operand.reuse, _value(function, source.reg, names), register))
        tied_uses.add(operand.reuse)
    for i, operand in enumerate(operands):
        if operand.role is Role.DEF or i in tied_uses or _is_frame_pointer(operand):
            continue
        value = _value(function, operand.reg, names)
        if operand.fixed is None:
            plain.append((i, value))
        else:
            fixed_uses.append((i, value, operand.fixed))
    by_register: dict[int, int] = {}
    for _, value, register in fixed_uses:
        if by_register.setdefault(register, value) != value:
            raise _unsatisfiable(function, insn)
    if len({register for _, _, register in fixed_defs}) != len(fixed_defs):
        raise _unsatisfiable(function, insn)
    clobbers = _bits(r for r in insn.clobbers if r != FRAME_POINTER)
    forbidden = clobbers | _bits(r for _, _, r in fixed_defs) | _bits(r for _, _, r in fixed_uses)
    uses = tuple(dict.fromkeys([v for _, v in plain] + [v for _, v, _ in fixed_uses] + [t[3] for t in ties]))
    defs = tuple([v for _, v, _ in plain_defs] + [v for _, v, _ in fixed_defs] + [t[1] for t in ties])
    return Site(
        insn,
        tuple(plain),
        tuple(fixed_uses),
        tuple(ties),
        tuple(plain_defs),
        tuple(fixed_defs),
        clobbers,
        forbidden,
        uses,
        defs,
        constrained=forbidden != 0,
    )


def _is_frame_pointer(operand: Operand) -> bool:
    return not isinstance(operand.reg, VReg) and operand.reg.number == FRAME_POINTER


def _bits(numbers: Iterable[int]) -> int:
    mask = 0
    for number in numbers:
        mask |= 1 << number
    return mask


def _unsatisfiable(function: MachineFunction, insn: MachineInsn) -> InternalError:
    return InternalError(
        "the constraints of one instruction contradict each other",
        phase=PHASE,
        function=function.name,
        span=insn.span,
    )


def _check_edges(function: MachineFunction, blocks: Sequence[FlowBlock]) -> None:
    """Critical edges are split, and nothing jumps to the entry."""
    if blocks[0].preds:
        raise InternalError("the entry block has a predecessor", phase=PHASE, function=function.name)
    for block in blocks:
        for edge in block.edges if len(block.edges) > 1 else ():
            target = blocks[edge.target]
            if len(target.preds) > 1 or target.params:
                raise InternalError(
                    f"edge {block.block.name} → {target.block.name} is critical",
                    phase=PHASE,
                    function=function.name,
                )


def _find_loops(blocks: Sequence[FlowBlock]) -> dict[int, Loop]:
    """The natural loops by header; sets the depth and frequency of each block.

    An edge that goes back in reverse postorder to a block that does not dominate its source (irreducible flow) closes
    a region found the same way, cut at the entry; that only makes frequencies coarse.
    """
    loops: dict[int, Loop] = {}
    for block in blocks:
        for edge in block.edges:
            if edge.target <= block.index:
                body = loops.setdefault(edge.target, Loop(edge.target, {edge.target})).body
                work = [block.index]
                while work:
                    i = work.pop()
                    if i not in body and i > edge.target:
                        body.add(i)
                        work.extend(blocks[i].preds)
    for header in sorted(loops):
        for i in loops[header].body:
            blocks[i].loops.append(header)
    for block in blocks:
        block.depth = len(block.loops)
        block.frequency = NORMAL_FREQUENCY * LOOP_FACTOR ** min(block.depth, MAX_DEPTH)
        if block.block.unlikely:
            block.frequency = max(1, block.frequency // UNLIKELY_FACTOR)
    return loops


def _phi_webs(function: MachineFunction, blocks: Sequence[FlowBlock]) -> list[int]:
    """Values connected through block parameters share a number."""
    web = list(range(function.next_vreg))

    def find(v: int) -> int:
        while web[v] != v:
            web[v] = web[web[v]]
            v = web[v]
        return v

    for block in blocks:
        for edge in block.edges:
            for param, arg in zip(blocks[edge.target].params, edge.args, strict=True):
                web[find(arg)] = find(param)
    return [find(v) for v in range(function.next_vreg)]
