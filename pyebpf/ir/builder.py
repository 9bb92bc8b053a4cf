"""Appending operations to blocks: the front end and the passes that make code write through a ``Builder``.

A builder stands at the end of one block. Each method appends one operation with the current span and gives it
back; ``terminated`` tells whether the block has its terminator. Nothing is simplified here: the passes do
that, and the text of unoptimised SSA then shows what was asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from pyebpf.diagnostics import InternalError, Span
from pyebpf.hints import TypeVar
from pyebpf.ir import ops
from pyebpf.ir.ops import BinOp, Block, Function, Op, Pred, Value
from pyebpf.ir.types import I1, I32, I64, IntTy, IRType, PtrTy, Space
from pyebpf.records import replace

_AnyOp = TypeVar("_AnyOp", bound=Op)


class NameSupply:
    """Unique block names: ``then``, ``then.1``, ``then.2``, … The text form needs every name once in a
    function."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._next: dict[str, int] = {}

    def fresh(self, wanted: str) -> str:
        """``wanted`` (without an old number at its end) if it is free, else with the next free number."""
        stem, _, number = wanted.rpartition(".")
        stem = stem if stem and number.isdigit() else wanted
        name, count = stem, self._next.get(stem, 1)
        while name in self._taken:
            name, count = f"{stem}.{count}", count + 1
        self._next[stem] = count
        self._taken.add(name)
        return name


class Builder:
    """Appends operations to ``block`` of ``function``. ``span`` goes into every operation; set it for each
    statement and expression. ``block`` may be set to any block of the function to continue there."""

    def __init__(self, function: Function, span: Span | None = None) -> None:
        self.function = function
        self.span = span
        self._names = NameSupply(b.name for b in function.blocks)
        if not function.blocks:
            self.new_block("entry")
        head = itertools.takewhile(lambda op: isinstance(op, ops.Alloca), function.entry.ops)
        self._allocas = sum(1 for _ in head)
        self.block: Block = function.entry

    # ------------------------------------------------------------ blocks

    def new_block(self, name: str) -> Block:
        """A new empty block at the end of the function, named ``name`` or, if that is taken, ``name.N``. The
        builder stays where it is."""
        block = Block(self._names.fresh(name))
        self.function.blocks.append(block)
        return block

    @property
    def terminated(self) -> bool:
        """Whether the current block is complete, so that nothing can be appended any more."""
        return bool(self.block.ops) and isinstance(self.block.ops[-1], ops.TERMINATORS)

    def emit(self, op: _AnyOp) -> _AnyOp:
        """Append ``op``; it gets the current span unless it has one. Raises ``InternalError`` after a
        terminator."""
        if self.terminated:
            raise InternalError(
                f"{type(op).__name__} appended to block {self.block.name!r}, which is complete",
                phase="building SSA",
                function=self.function.name,
                span=self.span,
            )
        if op.span is None:
            op.span = self.span
        self.block.ops.append(op)
        return op

    # ------------------------------------------------------------ integers

    def const(self, value: int, type: IntTy = I64) -> ops.Const:
        """The integer ``value`` reduced to the width of ``type``."""
        return self.emit(ops.const(value, type))

    def null(self, type: PtrTy) -> ops.Const:
        """The null pointer of ``type``, made nullable."""
        return self.emit(ops.Const(0, type=replace(type, nullable=True)))

    def undef(self, type: IRType) -> ops.Undef:
        """A value that no path reads."""
        return self.emit(ops.Undef(type=type))

    def binary(self, op: BinOp, left: Value, right: Value, name: str = "") -> ops.Binary:
        """``left op right`` in the operands' width."""
        return self.emit(ops.Binary(op, left, right, type=left.type, name=name))

    def neg(self, operand: Value) -> ops.Neg:
        """``-operand``."""
        return self.emit(ops.Neg(operand, type=operand.type))

    def bswap(self, bits: int, operand: Value) -> ops.ByteSwap:
        """The low ``bits`` reversed by bytes, the rest zeroed."""
        return self.emit(ops.ByteSwap(bits, operand, type=operand.type))

    def cmp(self, pred: Pred, left: Value, right: Value) -> ops.Cmp:
        """The i1 ``left pred right``."""
        return self.emit(ops.Cmp(pred, left, right))

    def logical_not(self, operand: Value) -> ops.Binary:
        """The negation of an i1."""
        return self.binary(BinOp.XOR, operand, self.const(1, I1))

    def trunc(self, operand: Value) -> ops.Trunc:
        """The low half of an i64, as i32."""
        return self.emit(ops.Trunc(operand, type=I32))

    def zext(self, bits: int, operand: Value) -> ops.Zext:
        """The low ``bits`` of ``operand`` as a non-negative i64."""
        return self.emit(ops.Zext(bits, operand, type=I64))

    def sext(self, bits: int, operand: Value) -> ops.Sext:
        """The low ``bits`` of ``operand`` as a signed i64."""
        return self.emit(ops.Sext(bits, operand, type=I64))

    # ------------------------------------------------------------ pointers and memory

    def alloca(self, size: int, align: int = 8, label: str = "") -> ops.Alloca:
        """``size`` bytes of the stack frame. It goes to the head of the entry block, wherever the builder
        stands."""
        op = ops.Alloca(size, align, label, span=self.span, name=label if label.isidentifier() else "")
        self.function.entry.ops.insert(self._allocas, op)
        self._allocas += 1
        return op

    def start_at_zero(self, slot: ops.Alloca, offset: int = 0) -> None:
        """Eight bytes of ``slot`` are zero where the function begins, wherever the builder stands."""
        zero = ops.Const(0, type=I64, span=self.span)
        store = ops.Store(slot, offset, 8, zero, span=self.span)
        self.function.entry.ops[self._allocas : self._allocas] = [zero, store]

    def ptradd(self, base: Value, offset: Value | int, size: int | None = None) -> ops.PtrAdd:
        """``base`` moved by ``offset`` bytes. ``size``: what may be accessed from there; by default what is
        left of ``base`` after a constant offset, and unknown after a variable one."""
        assert isinstance(base.type, PtrTy)
        if isinstance(offset, int):
            if size is None and base.type.size is not None:
                size = base.type.size - offset
            offset = self.const(offset)
        return self.emit(ops.PtrAdd(base, offset, type=PtrTy(base.type.space, size)))

    def nonnull(self, pointer: Value) -> ops.NonNull:
        """``pointer`` after it was found not to be null."""
        assert isinstance(pointer.type, PtrTy)
        return self.emit(ops.NonNull(pointer, type=replace(pointer.type, nullable=False), name=pointer.name))

    def load(
        self,
        pointer: Value,
        offset: int = 0,
        width: int = 8,
        *,
        signed: bool = False,
        type: IRType = I64,
        name: str = "",
    ) -> ops.Load:
        """``width`` bytes at ``pointer + offset``, extended to ``type`` (or a pointer of ``type``)."""
        return self.emit(ops.Load(pointer, offset, width, signed, type=type, name=name))

    def store(self, pointer: Value, offset: int, width: int, value: Value) -> ops.Store:
        """The low ``width`` bytes of ``value`` to ``pointer + offset``."""
        return self.emit(ops.Store(pointer, offset, width, value))

    def memzero(self, pointer: Value, offset: int, size: int, align: int = 1) -> ops.MemZero:
        """Zero ``size`` bytes at ``pointer + offset``, whose alignment is ``align``."""
        return self.emit(ops.MemZero(pointer, offset, size, align))

    def memcopy(
        self, target: Value, target_offset: int, source: Value, source_offset: int, size: int, align: int = 1
    ) -> ops.MemCopy:
        """Copy ``size`` bytes; ``align`` holds for both sides."""
        return self.emit(ops.MemCopy(target, target_offset, source, source_offset, size, align))

    def atomic(self, op: ops.AtomicOp, pointer: Value, offset: int, width: int, value: Value) -> ops.Atomic:
        """Atomically change ``width`` (4 or 8) bytes at ``pointer + offset``."""
        return self.emit(ops.Atomic(op, pointer, offset, width, value))

    # ------------------------------------------------------------ symbols and calls

    def map_ref(self, name: str) -> ops.MapRef:
        """The map ``name``, as helpers take it."""
        return self.emit(ops.MapRef(name))

    def global_ref(self, section: str, variable: str, size: int) -> ops.GlobalRef:
        """The address of a variable of ``size`` bytes in a data section."""
        return self.emit(ops.GlobalRef(section, variable, type=PtrTy(Space.GLOBAL, size)))

    def extern_ref(self, name: str, size: int) -> ops.ExternRef:
        """The address of ``size`` bytes that the loader knows by name."""
        return self.emit(ops.ExternRef(name, type=PtrTy(Space.GLOBAL, size)))

    def core_value(self, kind: int, root: str, access: str, value: int) -> ops.CoreValue:
        """A number that depends on the kernel."""
        return self.emit(ops.CoreValue(int(kind), root, access, value))

    def core_address(self, base: Value, root: str, access: str, offset: int) -> ops.CoreAddress:
        """The address of a field of the struct at ``base``."""
        return self.emit(ops.CoreAddress(base, root, access, offset, type=base.type))

    def address_in(self, context: Value, offset: int) -> ops.CoreAddress:
        """The address of a part of the context, as a number."""
        return self.emit(ops.CoreAddress(context, "", "", offset, type=I64))

    def kernel_load(
        self,
        pointer: Value,
        root: str,
        access: str,
        offset: int,
        width: int,
        type: IRType,
        *,
        signed: bool = False,
    ) -> ops.KernelLoad:
        """A field of a kernel object."""
        return self.emit(ops.KernelLoad(pointer, root, access, offset, width, signed, type=type))

    def func_ref(self, name: str) -> ops.FuncRef:
        """The address of the callback ``name``."""
        return self.emit(ops.FuncRef(name))

    def helper(self, number: int, *args: Value, type: IRType = I64) -> ops.CallHelper:
        """Call the helper with UAPI number ``number``."""
        return self.emit(ops.CallHelper(number, args, type=type))

    def kfunc(self, name: str, *args: Value, type: IRType = I64) -> ops.CallKfunc:
        """Call a kernel function."""
        return self.emit(ops.CallKfunc(name, args, type=type))

    def call(self, function: str, *args: Value, type: IRType = I64) -> ops.Call:
        """Call another function of the module."""
        return self.emit(ops.Call(function, args, type=type))

    # ------------------------------------------------------------ terminators and phis

    def jump(self, target: Block) -> ops.Jump:
        """Go to ``target``."""
        return self.emit(ops.Jump(target))

    def branch(
        self, condition: Value, then: Block, otherwise: Block, *, unlikely: bool = False
    ) -> ops.Branch:
        """Go to ``then`` if the i1 ``condition`` holds; ``unlikely`` marks ``then`` as cold."""
        return self.emit(ops.Branch(condition, then, otherwise, unlikely))

    def ret(self, value: Value | None = None) -> ops.Return:
        """Leave the function."""
        return self.emit(ops.Return(value))

    def unreachable(self) -> ops.Unreachable:
        """Control never comes here."""
        return self.emit(ops.Unreachable())

    def phi(self, type: IRType, incoming: dict[Block, Value] | None = None, name: str = "") -> ops.Phi:
        """A phi after the phis of the current block; ``incoming`` may be completed later."""
        op = ops.Phi(dict(incoming or {}), type=type, span=self.span, name=name)
        place = next(
            (i for i, o in enumerate(self.block.ops) if not isinstance(o, ops.Phi)), len(self.block.ops)
        )
        self.block.ops.insert(place, op)
        return op
