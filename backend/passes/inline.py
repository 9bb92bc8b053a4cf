"""Inlining: the body of a subprogram takes the place of a call.

::

    func entry xdp @main(…)                  func entry xdp @main(…)
    entry:                                   entry:
      %2 = call @double(%1): i64               %3 = add i64 %1, %1
      return %2                       →        return %3
    func subprogram @double(%x: i64) …
      %1 = add i64 %x, %x
      return %1

(after the jumps are merged by ``cfg_simplify``). What the user asked for decides first: ``ALWAYS`` is
inlined, ``NEVER`` not. Otherwise a subprogram is inlined where that is smaller: it is called once, or is
hardly longer than the call. Not inlined are recursive functions (which have no finite body), callbacks and
global functions (the kernel calls or verifies them by themselves), and what would make the frame of the
caller too large.

Works through the call graph from the leaves, so that a body is complete before it is copied.

Requires: ``mem2reg`` and ``simplify`` before, so that sizes are realistic. Invalidates: block names and
order; pointer types are made exact again; slots of the callee become slots of the caller, which ``mem2reg``
should see again.
"""

from __future__ import annotations

import copy

from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import ops
from pyebpf.ir.builder import NameSupply
from pyebpf.ir.edit import (
    block_names,
    refine_pointers,
    remove_unreachable_blocks,
    rename_predecessor,
    substitute,
)
from pyebpf.ir.ops import (
    Alloca,
    Block,
    Call,
    Const,
    Function,
    FunctionRole,
    Inlining,
    Jump,
    Module,
    Op,
    Phi,
    Return,
    Value,
)
from pyebpf.ir.types import VOID

if TYPE_CHECKING:
    from typing import Final


FRAME_LIMIT: Final = 256
"""Bytes of slots up to which a caller takes over the slots of its callees unasked; a frame has 512, with
spills."""

SMALL: Final = 8
"""Instructions that a body may have beyond the call that it replaces, and still be inlined everywhere."""

_FREE: Final = (Const, Phi, Alloca, ops.NonNull, ops.Undef, ops.Jump)


def run(module: Module) -> bool:
    """Inline in every function of the module. Returns whether anything changed."""
    order, recursive = _bottom_up(module)
    calls: dict[str, int] = {}
    for function in module.functions.values():
        for op in function.ops():
            if isinstance(op, Call):
                calls[op.function] = calls.get(op.function, 0) + 1
    changed = False
    for caller in order:
        sites = [op for op in caller.ops() if isinstance(op, Call)]
        wanted = {
            op
            for op in sites
            if op.function not in recursive and _pays(module.functions[op.function], op, caller, calls)
        }
        if wanted:
            _inline(module, caller, wanted)
            changed = True
    return changed


def _bottom_up(module: Module) -> tuple[list[Function], set[str]]:
    """The functions, callees before callers, and the names of those on a cycle of calls."""
    callees = {
        name: list(dict.fromkeys(op.function for op in f.ops() if isinstance(op, Call)))
        for name, f in module.functions.items()
    }
    order: list[Function] = []
    recursive: set[str] = set()
    done: set[str] = set()
    for root in module.functions:
        path: list[str] = []
        stack: list[tuple[str, bool]] = [(root, False)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                path.pop()
                done.add(name)
                order.append(module.functions[name])
            elif name in path:
                recursive.update(path[path.index(name) :])
            elif name not in done:
                path.append(name)
                stack.append((name, True))
                stack.extend((callee, False) for callee in callees[name])
    return order, recursive


def size(function: Function) -> int:
    """About how many instructions the function makes."""
    return sum(not isinstance(op, _FREE) for op in function.ops())


def _pays(callee: Function, call: Call, caller: Function, calls: dict[str, int]) -> bool:
    if callee.role is not FunctionRole.SUBPROGRAM or callee.inlining is Inlining.NEVER:
        return False
    if callee.inlining is Inlining.ALWAYS:
        return True
    slots = _frame(callee)
    if slots and slots + _frame(caller) > FRAME_LIMIT:
        return False
    constants = sum(isinstance(arg, Const) for arg in call.args)
    return calls[callee.name] == 1 or size(callee) <= len(call.args) + 2 * constants + SMALL


def _frame(function: Function) -> int:
    return sum(op.size for op in function.entry.ops if isinstance(op, Alloca))


def _inline(module: Module, caller: Function, calls: set[Call]) -> None:
    names = block_names(caller)
    mapping: dict[Value, Value] = {}
    allocas: list[Op] = []
    blocks: list[Block] = []
    todo = list(reversed(caller.blocks))
    while todo:
        block = todo.pop()
        blocks.append(block)
        at = next((i for i, op in enumerate(block.ops) if op in calls), None)
        if at is None:
            continue
        call = block.ops[at]
        assert isinstance(call, Call)
        rest = Block(names.fresh(f"{block.name}.after"), block.ops[at + 1 :])
        for successor in rest.successors():
            rename_predecessor(successor, block, rest)
        body = _Copy(module.functions[call.function], call, names)
        block.ops[at:] = [Jump(body.blocks[0], span=call.span)]
        blocks.extend(body.blocks)
        allocas.extend(body.allocas)
        if call.type != VOID:
            mapping[call] = body.result(rest)
        else:
            body.result(rest)
        todo.append(rest)
    caller.blocks = blocks
    caller.entry.ops[:0] = allocas
    substitute(caller, mapping)
    remove_unreachable_blocks(caller)
    refine_pointers(caller)


class _Copy:
    """A copy of the callee's body with the arguments in the parameters' place. Its slots are taken out."""

    def __init__(self, callee: Function, call: Call, names: NameSupply) -> None:
        self.call = call
        self.allocas: list[Op] = []
        values: dict[Value, Value] = dict(zip(callee.params, call.args, strict=True))
        block_of = {b: Block(names.fresh(f"{callee.name}.{b.name}")) for b in callee.blocks}
        self.blocks = list(block_of.values())
        for old, new in block_of.items():
            for op in old.ops:
                twin = copy.copy(op)
                values[op] = twin
                (self.allocas if isinstance(twin, Alloca) else new.ops).append(twin)
        for block in self.blocks:
            for op in block.ops:
                op.map_operands(lambda value: values[value])
                match op:
                    case Phi():
                        op.incoming = {block_of[b]: value for b, value in op.incoming.items()}
                    case Jump():
                        op.target = block_of[op.target]
                    case ops.Branch() | ops.CompareBranch():
                        op.then, op.otherwise = block_of[op.then], block_of[op.otherwise]
                    case _:
                        pass

    def result(self, after: Block) -> Value:
        """Let the returns go to ``after``, and give the value that they join to there."""
        phi = Phi(type=self.call.type, span=self.call.span, name=self.call.name)
        for block in self.blocks:
            last = block.ops[-1]
            if isinstance(last, Return):
                if last.value is not None:
                    phi.incoming[block] = last.value
                block.ops[-1] = Jump(after, span=last.span)
        if len(phi.incoming) == 1:
            return next(iter(phi.incoming.values()))
        if phi.incoming:
            after.ops.insert(0, phi)
        return phi
