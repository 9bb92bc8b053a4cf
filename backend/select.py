"""Instruction selection: a function in SSA form to machine IR for one level of the instruction set.

Blocks are taken in reverse postorder, so that definitions come before uses; phis become block parameters, and
critical edges get blocks of their own. What an operation is made of is in ``select_arithmetic``,
``select_memory`` and ``select_control``; constants, addresses and symbols are made where they are used.
"""

from __future__ import annotations

from pyebpf.backend import select_arithmetic as arithmetic
from pyebpf.backend import select_control as control
from pyebpf.backend import select_kernel as kernel
from pyebpf.backend import select_memory as memory
from pyebpf.backend.machine import MAX_ARGUMENTS, MachineBlock, MachineFunction, VReg
from pyebpf.backend.select_context import Selection
from pyebpf.hints import assert_never
from pyebpf.ir import ops
from pyebpf.ir.ops import Block, Function, FunctionRole, Module, Op, Pred
from pyebpf.ir.types import VOID
from pyebpf.target import Target


def select(function: Function, module: Module, target: Target) -> MachineFunction:
    """The machine IR of ``function``, whose calls and symbols are those of ``module``.

    Operations that nobody reads and that have no effect are dropped. Raises ``InternalError`` for SSA that
    the IR verifier would refuse.
    """
    return _Selector(function, module, target).run()


class _Selector:
    def __init__(self, function: Function, module: Module, target: Target) -> None:
        self.sel = Selection(function, module, target)
        self.order = self.sel.facts.order
        self.preds: dict[Block, list[Block]] = {block: [] for block in self.order}
        for block in self.order:
            for successor in block.successors():
                self.preds[successor].append(block)
        unlikely = self._unlikely()
        self.heads = {b: self.sel.new_block(b.name, unlikely=b in unlikely) for b in self.order}

    def run(self) -> MachineFunction:
        sel = self.sel
        if len(sel.function.params) > MAX_ARGUMENTS:
            raise sel.error(f"{len(sel.function.params)} parameters do not fit the argument registers")
        params = [sel.machine.new_vreg(p.name) for p in sel.function.params]
        sel.machine.params = tuple(params)
        sel.regs.update(zip(sel.function.params, params, strict=True))
        for block in self.order:
            if len(self.preds[block]) > 1:
                self.heads[block].params = tuple(self._parameter(phi) for phi in self._phis(block))
        for block in self.order:
            sel.enter(self.heads[block])
            for op in block.ops:
                self._op(block, op)
        sel.machine.blocks[0].params = sel.machine.params
        return sel.machine

    def _unlikely(self) -> set[Block]:
        """Blocks that handle errors, and those that can be reached through such blocks only."""
        found: set[Block] = set()
        for block in self.order:
            match block.terminator:
                case ops.Branch(then=then, unlikely=True) | ops.CompareBranch(then=then, unlikely=True):
                    found.add(then)
                case _:
                    pass
        for block in self.order:
            if self.preds[block] and all(p in found for p in self.preds[block]):
                found.add(block)
        return found

    def _phis(self, block: Block) -> list[ops.Phi]:
        return [phi for phi in block.phis() if phi in self.sel.facts.needed]

    def _parameter(self, phi: ops.Phi) -> VReg:
        self.sel.regs[phi] = reg = self.sel.machine.new_vreg(phi.name)
        return reg

    def _op(self, block: Block, op: Op) -> None:
        sel = self.sel
        sel.span, sel.name = op.span or sel.span, op.name
        match op:
            case ops.Jump() | ops.Branch() | ops.CompareBranch() | ops.Return() | ops.Unreachable():
                for home, first in sel.facts.section_homes.values():
                    if home is block:
                        sel.global_base(first)  # for accesses in other blocks, if there was none here
                self._terminate(block, op)
            case ops.Store():
                memory.store(sel, op)
            case ops.MemZero():
                memory.zero(sel, op)
            case ops.MemCopy():
                memory.copy(sel, op)
            case ops.Atomic():
                memory.atomic(sel, op)
            case ops.CallHelper() | ops.CallKfunc() | ops.Call():
                self._call(op)
            case ops.Phi() if op in sel.facts.needed and len(self.preds[block]) == 1:
                sel.regs[op] = sel.reg(op.incoming[self.preds[block][0]])
            case _ if op in sel.facts.needed:
                result = self._value(op)
                if result is not None:
                    sel.regs[op] = result

    def _value(self, op: Op) -> VReg | None:
        """The register of an operation without effects; ``None`` for what is made elsewhere."""
        sel = self.sel
        match op:
            case ops.Binary():
                return arithmetic.binary(sel, op)
            case ops.Neg():
                return arithmetic.negate(sel, op)
            case ops.ByteSwap():
                return arithmetic.byte_swap(sel, op)
            case ops.Zext():
                return arithmetic.zero_extend(sel, op)
            case ops.Sext():
                return arithmetic.sign_extend(sel, op)
            case ops.Trunc():
                return arithmetic.truncate(sel, op)
            case ops.Cmp():
                return control.compare(sel, op)
            case ops.PtrAdd():
                return memory.pointer_add(sel, op)
            case ops.Load():
                return memory.load(sel, op)
            case ops.NonNull(pointer=pointer):
                return sel.reg(pointer)
            case ops.CoreAddress():
                return kernel.address(sel, op)
            case ops.KernelLoad():
                return kernel.load(sel, op)
            case ops.Const() | ops.Undef() | ops.Alloca() | ops.MapRef() | ops.GlobalRef() | ops.FuncRef():
                return None  # leaves
            case ops.ExternRef() | ops.CoreValue():
                return None  # leaves
            case ops.Phi():
                return None  # a block parameter
            case (
                ops.Store()
                | ops.MemZero()
                | ops.MemCopy()
                | ops.Atomic()
                | ops.CallHelper()
                | ops.CallKfunc()
                | ops.Call()
                | ops.Jump()
                | ops.Branch()
                | ops.CompareBranch()
                | ops.Return()
                | ops.Unreachable()
            ):
                raise sel.error(f"{type(op).__name__} is selected for its effect, not its value")
        assert_never(op)

    def _call(self, op: ops.CallHelper | ops.CallKfunc | ops.Call) -> None:
        match op:
            case ops.CallHelper():
                result = control.call_helper(self.sel, op)
            case ops.CallKfunc():
                result = control.call_kfunc(self.sel, op)
            case ops.Call():
                result = control.call(self.sel, op)
            case _:
                assert_never(op)
        if result is not None:
            self.sel.regs[op] = result

    # ------------------------------------------------------------ control flow

    def _terminate(self, block: Block, op: ops.Terminator) -> None:
        sel = self.sel
        match op:
            case ops.Jump(target=target):
                self._goto(block, target)
            case (
                ops.Branch(then=then, otherwise=otherwise) | ops.CompareBranch(then=then, otherwise=otherwise)
            ):
                if then is otherwise:
                    self._goto(block, then)
                else:
                    self._branch(block, op, then, otherwise)
            case ops.Return(value=None):
                if sel.function.role in (FunctionRole.ENTRY, FunctionRole.CALLBACK):
                    raise sel.error("the kernel expects a result of this function")
                control.leave(sel, None)
            case ops.Return(value=value):
                assert value is not None
                control.leave(sel, sel.clean(value))
            case ops.Unreachable():
                # The verifier follows every path to an exit, and in a program that needs a result.
                control.leave(sel, None if sel.function.result == VOID else sel.constant(0))
            case _:
                assert_never(op)

    def _goto(self, block: Block, target: Block) -> None:
        args: list[VReg] = []
        if len(self.preds[target]) > 1:
            args = [self.sel.fresh(phi.incoming[block]) for phi in self._phis(target)]
        self.sel.goto(self.heads[target], args)

    def _branch(
        self, block: Block, op: ops.Branch | ops.CompareBranch, then: Block, otherwise: Block
    ) -> None:
        match op:
            case ops.Branch(condition=ops.Const(value=truth)):
                self._goto(block, then if truth else otherwise)
                return
            case ops.Branch(condition=ops.Cmp(pred=pred, left=left, right=right)):
                test = control.condition(self.sel, pred, left, right)
            case ops.Branch(condition=value):
                test = control.condition(self.sel, Pred.NE, value, ops.const(0))
            case ops.CompareBranch(pred=pred, left=left, right=right):
                test = control.condition(self.sel, pred, left, right)
            case _:
                assert_never(op)
        first, second = self._edge_block(block, then), self._edge_block(block, otherwise)
        control.branch(self.sel, test, first, second)
        for edge_block, target in ((first, then), (second, otherwise)):
            if edge_block is not self.heads[target]:
                self.sel.enter(edge_block)
                self._goto(block, target)

    def _edge_block(self, block: Block, target: Block) -> MachineBlock:
        """Where a conditional jump from ``block`` to ``target`` goes: a block of its own if the edge is
        critical.
        """
        head = self.heads[target]
        if len(self.preds[target]) == 1:
            return head
        return self.sel.new_block(f"{block.name}.{target.name}", unlikely=head.unlikely)
