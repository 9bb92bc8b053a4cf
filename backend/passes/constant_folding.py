"""Sparse conditional constant propagation: values that are constant on every path that can be taken.

::

    entry:                                   entry:
      %1 = const i64 6                         %1 = const i64 6
      %2 = const i64 7                         %2 = const i64 7
      %3 = mul i64 %1, %2                      %6 = const i64 42
      %4 = cmp eq %3, %2                →      %7 = const i1 0
      branch %4, a, b                          jump b
    a:                                       b:
      return %1                                return %6
    b:
      return %3

Values start as unknown, not as varying, and blocks as unreachable, so that constants are found around loops
and a branch that can go only one way does not spoil them (Wegman and Zadeck, 1991). Loads at constant places
of read-only data are constants too, but only of variables that user space cannot set before loading (static
ones).

Requires: nothing. Invalidates: blocks and edges may go.
"""

from __future__ import annotations

from pyebpf.backend.passes.addresses import place_of
from pyebpf.backend.passes.evaluate import as_signed, compare, evaluate
from pyebpf.ir import ops
from pyebpf.ir.cfg import uses
from pyebpf.ir.edit import make_jump, remove_unreachable_blocks, substitute
from pyebpf.ir.ops import Block, Const, Function, Module, Op, Phi, Undef, Value, const
from pyebpf.ir.types import IntTy


def run(function: Function, module: Module, *, little_endian: bool = True) -> bool:
    """Fold constants. ``module`` has the read-only data. Returns whether anything changed."""
    solver = _Solver(function, module, little_endian)
    solver.solve()
    return solver.apply()


class _Solver:
    """``known`` maps a value to its constant, or to None where it varies; values that are not in it are
    unknown."""

    def __init__(self, function: Function, module: Module, little_endian: bool) -> None:
        self.function = function
        self.module = module
        self.little_endian = little_endian
        self.uses = uses(function)
        self.block_of: dict[Value, Block] = {op: block for block in function.blocks for op in block.ops}
        self.known: dict[Value, int | None] = dict.fromkeys(function.params, None)
        self.edges: set[tuple[Block, Block]] = set()
        self.reached: set[Block] = {function.entry}
        self.flow: list[Block] = [function.entry]
        self.values: list[Op] = []

    def solve(self) -> None:
        while self.flow or self.values or self.give_up():
            if self.values:
                op = self.values.pop()
                if self.block_of[op] in self.reached:
                    self.visit(op)
            else:
                for op in self.flow.pop().ops:
                    self.visit(op)

    def give_up(self) -> bool:
        """A reachable branch on what is still unknown (it hangs on ``undef`` alone) may go either way."""
        for block in self.function.blocks:
            if block in self.reached and not self.targets(block.terminator, block) and block.successors():
                for operand in block.terminator.operands():
                    if operand not in self.known:
                        self.known[operand] = None
                        self.values.extend(user for user in self.uses[operand] if isinstance(user, Op))
        return bool(self.values)

    def visit(self, op: Op) -> None:
        if isinstance(op, ops.TERMINATORS):
            block = self.block_of[op]
            for target in self.targets(op, block):
                self.take(block, target)
            return
        result = self.result(op)
        if result is _UNKNOWN:
            return
        assert result is None or isinstance(result, int)
        if op in self.known and (self.known[op] is None or self.known[op] == result):
            return
        self.known[op] = None if op in self.known else result
        self.values.extend(user for user in self.uses[op] if isinstance(user, Op))

    def take(self, source: Block, target: Block) -> None:
        if (source, target) in self.edges:
            return
        self.edges.add((source, target))
        if target in self.reached:
            self.values.extend(target.phis())
        else:
            self.reached.add(target)
            self.flow.append(target)

    def targets(self, op: ops.Terminator, block: Block) -> tuple[Block, ...]:
        match op:
            case ops.Branch(condition=condition):
                if condition not in self.known:
                    return ()
                taken = self.known[condition]
            case ops.CompareBranch():
                if op.left not in self.known or op.right not in self.known:
                    return ()
                left, right = self.known[op.left], self.known[op.right]
                bits = op.left.type.bits if isinstance(op.left.type, IntTy) else 64
                taken = None if left is None or right is None else int(compare(op.pred, left, right, bits))
            case _:
                return block.successors()
        if taken is None:
            return block.successors()
        return (op.then,) if taken else (op.otherwise,)

    def result(self, op: Op) -> int | object | None:
        match op:
            case Const():
                return op.value
            case Undef():
                return None  # but see ``join``
            case Phi():
                return self.join(op)
            case ops.Load():
                return self.loaded(op)
            case _:
                operands = list(op.operands())
                if not operands or not isinstance(op.type, IntTy) or isinstance(op, _CALLS):
                    return None
                if any(o not in self.known for o in operands):
                    return _UNKNOWN
                constants = [value for o in operands if (value := self.known[o]) is not None]
                return evaluate(op, constants) if len(constants) == len(operands) else None

    def join(self, phi: Phi) -> int | object | None:
        block = self.block_of[phi]
        found: int | object | None = _UNKNOWN
        for pred, value in phi.incoming.items():
            if (pred, block) not in self.edges or value not in self.known or isinstance(value, Undef):
                continue
            if found is not _UNKNOWN and found != self.known[value]:
                return None
            found = self.known[value]
            if found is None:
                return None
        return found

    def loaded(self, op: ops.Load) -> int | None:
        place = place_of(op.pointer, op.offset)
        if (
            not isinstance(op.type, IntTy)
            or not isinstance(place.root, ops.GlobalRef)
            or place.offset is None
        ):
            return None
        section = self.module.data.get(place.root.section)
        variable = section.variable(place.root.variable) if section else None
        if section is None or variable is None or not section.read_only or not variable.static:
            return None
        if place.offset < 0 or place.offset + op.width > variable.size:
            return None
        start = variable.offset + place.offset
        raw = bytes(section.contents[start : start + op.width])
        value = int.from_bytes(raw, "little" if self.little_endian else "big")
        if op.signed:
            value = as_signed(value, op.width * 8)
        return value & ((1 << op.type.bits) - 1)

    def apply(self) -> bool:
        changed = False
        mapping: dict[Value, Value] = {}
        for block in self.function.blocks:
            if block not in self.reached:
                continue
            out: list[Op] = []
            constants: list[Op] = []
            for op in block.ops:
                value = self.known.get(op)
                if value is None or isinstance(op, Const) or not isinstance(op.type, IntTy):
                    out.append(op)
                    continue
                constant = const(value, op.type, op.span)
                constant.name = op.name
                mapping[op] = constant
                (constants if isinstance(op, Phi) else out).append(constant)
            if constants:
                phis = [op for op in out if isinstance(op, Phi)]
                out = [*phis, *constants, *out[len(phis) :]]
            block.ops = out
            terminator = block.terminator
            targets = self.targets(terminator, block)
            if len(targets) == 1 and isinstance(terminator, ops.Branch | ops.CompareBranch):
                make_jump(block, targets[0])
                changed = True
        substitute(self.function, mapping)
        return remove_unreachable_blocks(self.function) or changed or bool(mapping)


_UNKNOWN = object()
_CALLS = (ops.CallHelper, ops.CallKfunc, ops.Call)
