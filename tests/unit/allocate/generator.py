"""Random machine functions, by seed: any control flow, every kind of constraint, pressure from none to far too much."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pyebpf.backend import insn as encoding
from pyebpf.backend.insn import Alu, Jmp, Source
from pyebpf.backend.machine import (
    CALL_CLOBBERED,
    Edge,
    FrameSlot,
    MachineBlock,
    MachineFunction,
    MachineInsn,
    Operand,
    PReg,
    Role,
    VReg,
)
from pyebpf.diagnostics import Span
from pyebpf.ir.ops import Function, FunctionRole
from pyebpf.ir.types import I64

SPAN = Span("random.py", 1, 1, 1, 2)
USE, DEF = Role.USE, Role.DEF


def source_function(name: str) -> Function:
    """A function of SSA that stands for where machine IR came from; the allocator does not look at it."""
    return Function(name, [], I64, [], FunctionRole.SUBPROGRAM, SPAN)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a random function is like. ``locality``: how likely an operand is one of the latest values. ``held``: so many
    values are made at the begin, of which most are needed until the end."""

    blocks: int
    insns: int
    calls: float
    locality: float
    params: int
    held: int = 0


def random_shape(rng: random.Random) -> Shape:
    """A shape between trivial and unreasonable."""
    return Shape(
        blocks=rng.choice([1, 2, 4, 6, 10, 16]),
        insns=rng.choice([2, 5, 8, 14]),
        calls=rng.choice([0.0, 0.05, 0.15, 0.4]),
        locality=rng.choice([0.0, 0.5, 0.8, 0.95]),
        params=rng.randint(0, 5),
    )


def pressing_shape(rng: random.Random, least: int, most: int) -> Shape:
    """A small function in which ``least`` to ``most`` values are alive together: across calls, in loops, at joins."""
    return Shape(
        blocks=rng.choice([1, 3, 5, 8]),
        insns=rng.choice([2, 5, 8]),
        calls=rng.choice([0.0, 0.1, 0.3]),
        locality=rng.choice([0.0, 0.5, 0.9]),
        params=rng.randint(1, 5),
        held=rng.randint(least, most),
    )


def random_function(seed: int, shape: Shape | None = None) -> MachineFunction:
    """The random function with this seed."""
    rng = random.Random(seed)
    return _Generator(rng, shape or random_shape(rng), f"random_{seed}").run()


class _Generator:
    """Makes one function."""

    def __init__(self, rng: random.Random, shape: Shape, name: str) -> None:
        self.rng = rng
        self.shape = shape
        self.function = MachineFunction(name, (), [], source_function(name))
        self.alloca = FrameSlot(16, 8, "buffer")
        self.function.slots.append(self.alloca)
        self.imm = 0
        self.held: list[VReg] = []

    def run(self) -> MachineFunction:
        function, rng = self.function, self.rng
        blocks = [MachineBlock(f"b{i}") for i in range(self.shape.blocks)]
        function.params = tuple(function.new_vreg(f"p{i}") for i in range(self.shape.params))
        blocks[0].params = function.params
        targets = self._targets(len(blocks))
        order = _split_critical(blocks, targets)
        function.blocks = blocks
        preds: list[list[int]] = [[] for _ in blocks]
        for i in order:
            for t in targets[i]:
                preds[t].append(i)
        dominators = _dominators(order, preds)
        leaving: dict[int, list[VReg]] = {}
        for i in order:  # a dominator comes before what it dominates
            if i and len(preds[i]) > 1:
                blocks[i].params = tuple(
                    function.new_vreg() for _ in range(rng.choice([0, 0, 1, 1, 2, 3, 6]))
                )
            known = list(leaving[dominators[i]]) if i else []
            known += [p for p in blocks[i].params if isinstance(p, VReg)]
            if i == 0:
                self._hold(blocks[0].insns, known)
            self._fill(blocks[i], known, len(targets[i]))
            leaving[i] = known
        for i in order:
            edges = []
            for t in targets[i]:
                args = tuple(rng.choice(leaving[i]) if leaving[i] else None for _ in blocks[t].params)
                if None in args:  # nothing to pass: make something
                    made = self._constant(blocks[i].insns, leaving[i])
                    args = tuple(made for _ in args)
                edges.append(Edge(blocks[t], tuple(a for a in args if a is not None)))
            blocks[i].edges = tuple(edges)
        if rng.random() < 0.9:
            function.blocks = [blocks[i] for i in order]
        return function

    def _targets(self, count: int) -> list[list[int]]:
        rng = self.rng
        targets: list[list[int]] = []
        for i in range(count):
            if i == count - 1:
                targets.append([])
                continue
            kind = rng.random()
            if kind < 0.35:
                targets.append([i + 1])
            elif kind < 0.75:
                targets.append([rng.randint(i + 1, count - 1), i + 1])
            elif kind < 0.92:
                targets.append([rng.randint(1, i) if i else i + 1, i + 1])
            elif kind < 0.96:
                targets.append([rng.randint(1, count - 1)])
            else:
                targets.append([])
        return [list(dict.fromkeys(t)) for t in targets]

    # ------------------------------------------------------------ instructions

    def _hold(self, insns: list[MachineInsn], known: list[VReg]) -> None:
        """Make the values that are held: most by loads, others by all that gives a result in a certain register."""
        kinds = (
            *[_Generator._load] * 8,
            *[_Generator._binary] * 3,
            _Generator._fetch,
            _Generator._compare_exchange,
        )
        while len(self.held) < self.shape.held:
            if self.shape.calls and self.rng.random() < self.shape.calls / 2:
                self._call(insns, known)
            else:
                self.rng.choice(kinds)(self, insns, known)
            self.held.append(known[-1])

    def _let_go(self, insns: list[MachineInsn]) -> None:
        """Use the values that were held, singly or several at once."""
        values = self.rng.sample(self.held, len(self.held))
        while values:
            some = [values.pop() for _ in range(min(len(values), self.rng.choice([1, 1, 2, 4])))]
            if len(some) == 1:
                self._add(insns, encoding.stx(8), [Operand(some[0], USE)], frame=self.alloca)
            else:  # several in certain registers
                uses = [Operand(v, USE, fixed=n + 1) for n, v in enumerate(some)]
                result = Operand(self.function.new_vreg(), DEF, fixed=0)
                self._add(insns, encoding.CALL, [*uses, result], clobbers=CALL_CLOBBERED)

    def _fill(self, block: MachineBlock, known: list[VReg], edges: int) -> None:
        rng = self.rng
        block.unlikely = rng.random() < 0.1
        for _ in range(rng.randint(0, self.shape.insns)):
            if rng.random() < self.shape.calls:
                self._call(block.insns, known)
            else:
                rng.choice(_KINDS)(self, block.insns, known)
        if edges == 2:
            uses = [self._pick(block.insns, known) for _ in range(rng.randint(1, 2))]
            source = Source.X if len(uses) == 2 else Source.K
            self._add(block.insns, encoding.jump(Jmp.JGT, source), [Operand(u, USE) for u in uses])
        elif edges == 0:
            self._let_go(block.insns)
            if rng.random() < 0.3:  # keep many values alive to the end
                for value in rng.sample(known, min(len(known), rng.randint(1, 20))):
                    self._add(block.insns, encoding.stx(8), [Operand(value, USE)], frame=self.alloca)
            self._add(block.insns, encoding.EXIT, [Operand(self._pick(block.insns, known), USE, fixed=0)])

    def _add(
        self,
        insns: list[MachineInsn],
        opcode: int,
        operands: list[Operand],
        *,
        frame: FrameSlot | None = None,
        clobbers: frozenset[int] = frozenset(),
        commutative: bool = False,
    ) -> MachineInsn:
        defs = [i for i, o in enumerate(operands) if o.role is DEF]
        uses = [i for i, o in enumerate(operands) if o.role is USE]
        dst = defs[0] if defs else None
        self.imm += 1
        insn = MachineInsn(
            opcode,
            tuple(operands),
            dst=dst,
            src=uses[-1] if uses else None,
            imm=self.imm,
            frame=frame,
            clobbers=clobbers,
            commutative=commutative,
        )
        insns.append(insn)
        return insn

    def _pick(self, insns: list[MachineInsn], known: list[VReg]) -> VReg:
        rng = self.rng
        if not known or rng.random() < 0.02:
            return self._constant(insns, known)
        if rng.random() < self.shape.locality:
            return known[-rng.randint(1, min(4, len(known)))]
        return rng.choice(known)

    def _new(self, known: list[VReg]) -> VReg:
        value = self.function.new_vreg()
        known.append(value)
        return value

    def _constant(self, insns: list[MachineInsn], known: list[VReg]) -> VReg:
        rng = self.rng
        value = self._new(known)
        kind = rng.random()
        if kind < 0.6:
            opcode, frame = encoding.alu(Alu.MOV, Source.K), None
        elif kind < 0.8:
            opcode, frame = encoding.LD_IMM64, None
        else:
            opcode, frame = encoding.alu(Alu.MOV, Source.X), self.alloca
        insn = self._add(insns, opcode, [Operand(value, DEF)], frame=frame)
        insn.remat = True
        return value

    def _binary(self, insns: list[MachineInsn], known: list[VReg]) -> None:
        left, right = self._pick(insns, known), self._pick(insns, known)
        result = Operand(self._new(known), DEF, reuse=1)
        commutative = self.rng.random() < 0.5
        op = Alu.ADD if commutative else Alu.SUB
        operands = [result, Operand(left, USE), Operand(right, USE)]
        self._add(insns, encoding.alu(op, Source.X), operands, commutative=commutative)

    def _immediate(self, insns: list[MachineInsn], known: list[VReg]) -> None:
        value = self._pick(insns, known)
        self._add(
            insns,
            encoding.alu(Alu.ADD, Source.K),
            [Operand(self._new(known), DEF, reuse=1), Operand(value, USE)],
        )

    def _load(self, insns: list[MachineInsn], known: list[VReg]) -> None:
        address = self._pick(insns, known)
        self._add(insns, encoding.ldx(4), [Operand(self._new(known), DEF), Operand(address, USE)])

    def _store(self, insns: list[MachineInsn], known: list[VReg]) -> None:
        address, value = self._pick(insns, known), self._pick(insns, known)
        self._add(insns, encoding.stx(4), [Operand(address, USE), Operand(value, USE)])

    def _move(self, insns: list[MachineInsn], known: list[VReg]) -> None:
        value = self._pick(insns, known)
        insn = self._add(
            insns, encoding.alu(Alu.MOV, Source.X), [Operand(self._new(known), DEF), Operand(value, USE)]
        )
        insn.imm = 0
        insn.move = True

    def _call(self, insns: list[MachineInsn], known: list[VReg]) -> None:
        args = [self._pick(insns, known) for _ in range(self.rng.randint(0, 5))]
        operands = [Operand(a, USE, fixed=i + 1) for i, a in enumerate(args)]
        operands.append(Operand(self._new(known), DEF, fixed=0))
        if self.rng.random() < 0.3:
            known.pop()  # the result is not used
        self._add(insns, encoding.CALL, operands, clobbers=CALL_CLOBBERED)

    def _compare_exchange(self, insns: list[MachineInsn], known: list[VReg]) -> None:
        uses = [self._pick(insns, known) for _ in range(3)]
        operands = [Operand(uses[0], USE, fixed=0), Operand(uses[1], USE), Operand(uses[2], USE)]
        self._add(insns, encoding.atomic(8), [*operands, Operand(self._new(known), DEF, fixed=0)])

    def _fetch(self, insns: list[MachineInsn], known: list[VReg]) -> None:
        address, value = self._pick(insns, known), self._pick(insns, known)
        operands = [Operand(address, USE), Operand(value, USE), Operand(self._new(known), DEF, reuse=1)]
        self._add(insns, encoding.atomic(8), operands)

    def _packet(self, insns: list[MachineInsn], known: list[VReg]) -> None:
        context, index = self._pick(insns, known), self._pick(insns, known)
        operands = [
            Operand(context, USE, fixed=6),
            Operand(index, USE),
            Operand(self._new(known), DEF, fixed=0),
        ]
        self._add(insns, 0x40, operands, clobbers=frozenset(range(1, 6)))

    def _early(self, insns: list[MachineInsn], known: list[VReg]) -> None:
        uses = [self._pick(insns, known) for _ in range(self.rng.randint(1, 3))]
        operands = [Operand(self._new(known), DEF, early=True), *(Operand(u, USE) for u in uses)]
        self._add(insns, encoding.alu(Alu.XOR, Source.X), operands)

    def _odd(self, insns: list[MachineInsn], known: list[VReg]) -> None:
        """An instruction that no machine has: any mixture of constraints that can be met."""
        rng = self.rng
        registers = rng.sample(range(10), 10)
        uses = [self._pick(insns, known) for _ in range(rng.randint(0, 4))]
        operands = [Operand(u, USE, fixed=registers.pop() if rng.random() < 0.4 else None) for u in uses]
        tied: set[int] = set()
        for _ in range(rng.randint(0, 3)):
            reuse = rng.randrange(len(uses)) if uses and rng.random() < 0.4 else None
            if reuse in tied:
                reuse = None
            if reuse is not None:
                tied.add(reuse)
                fixed = operands[reuse].fixed
                if fixed is None and rng.random() < 0.3:
                    fixed = registers.pop()
            else:
                fixed = registers.pop() if rng.random() < 0.3 else None
            early = reuse is None and fixed is None and rng.random() < 0.3
            operands.append(Operand(self._new(known), DEF, fixed=fixed, reuse=reuse, early=early))
        clobbers = frozenset(r for r in range(rng.choice([0, 0, 6])) if rng.random() < 0.7)
        self._add(insns, encoding.alu(Alu.XOR, Source.X), operands, clobbers=clobbers)

    def _frame_pointer(self, insns: list[MachineInsn], known: list[VReg]) -> None:
        operands = [Operand(self._new(known), DEF), Operand(PReg(10), USE)]
        self._add(insns, encoding.alu(Alu.MOV, Source.X), operands)

    def _constant_use(self, insns: list[MachineInsn], known: list[VReg]) -> None:
        self._constant(insns, known)


_KINDS = (
    *[_Generator._binary] * 5,
    *[_Generator._immediate] * 4,
    *[_Generator._load] * 4,
    *[_Generator._store] * 2,
    *[_Generator._constant_use] * 4,
    *[_Generator._move] * 2,
    _Generator._fetch,
    _Generator._compare_exchange,
    _Generator._packet,
    _Generator._early,
    _Generator._odd,
    _Generator._frame_pointer,
)


def _split_critical(blocks: list[MachineBlock], targets: list[list[int]]) -> list[int]:
    """Put a block on every edge from a block with two to a block with several predecessors; gives the reachable
    blocks in reverse postorder."""
    preds = [0] * len(blocks)
    for out in targets:
        for t in out:
            preds[t] += 1
    for i in range(len(blocks)):
        if len(targets[i]) == 2:
            for k, t in enumerate(targets[i]):
                if preds[t] > 1:
                    blocks.append(MachineBlock(f"b{i}_{k}"))
                    targets.append([t])
                    targets[i][k] = len(blocks) - 1
    seen: set[int] = {0}
    order: list[int] = []

    def visit(i: int) -> None:
        for t in reversed(targets[i]):
            if t not in seen:
                seen.add(t)
                visit(t)
        order.append(i)

    visit(0)
    order.reverse()
    return order


def _dominators(order: list[int], preds: list[list[int]]) -> dict[int, int]:
    """The immediate dominator of each block but the first."""
    position = {b: i for i, b in enumerate(order)}
    idom = {order[0]: order[0]}
    changed = True
    while changed:
        changed = False
        for block in order[1:]:
            new = -1
            for p in preds[block]:
                if p not in idom:
                    continue
                if new < 0:
                    new = p
                    continue
                while new != p:
                    while position[p] > position[new]:
                        p = idom[p]
                    while position[new] > position[p]:
                        new = idom[new]
            if idom.get(block) != new:
                idom[block] = new
                changed = True
    return idom
