"""Narrowing by demanded bits: arithmetic of which only 32 bits matter is done in 32 bits.

::

    %2 = mul i64 %h, %1                      %3 = trunc i32 %h
    %3 = zext.32 i64 %2               →      %4 = const i32 16777619
    …                                        %5 = mul i32 %3, %4
                                             %6 = zext.32 i64 %5

The 32-bit instructions clear the upper half of their result, so ``zext.32`` behind one costs nothing; nor
does ``trunc``. Three cases:

* an operation of which all users demand at most the low 32 bits (found backwards, through phis and around
  loops);
* an unsigned division or remainder of operands that have no higher bits (it is faster), and a comparison or
  bitwise operation of one with a constant that fits 32 bits but not the sign-extended immediate of a 64-bit
  instruction;
* a comparison of values that were only cut to 32 bits for its sake.

What the kernel's verifier must follow stays whole: an offset of ``PtrAdd``, an argument of a call or a
compared value demands all its bits, so a value is only narrowed below the extension that was written in the
program.

Requires: ISA v3 (32-bit comparisons), ``simplify`` before and after. Invalidates: nothing.
"""

from __future__ import annotations

from pyebpf.backend.passes.evaluate import possible_bits
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import ops
from pyebpf.ir.cfg import uses
from pyebpf.ir.edit import substitute
from pyebpf.ir.ops import Binary, BinOp, Cmp, Const, Function, Op, Pred, Value, const
from pyebpf.ir.types import I32, I64

if TYPE_CHECKING:
    from typing import Final


_LOW: Final = 0xFFFF_FFFF
_ALL: Final = (1 << 64) - 1
_UPWARD: Final = frozenset({BinOp.ADD, BinOp.SUB, BinOp.MUL})
"""A bit of the result depends on the same and lower bits of the operands only."""

_BITWISE: Final = frozenset({BinOp.AND, BinOp.OR, BinOp.XOR})
_UNSIGNED: Final = frozenset({Pred.EQ, Pred.NE, Pred.ULT, Pred.ULE, Pred.UGT, Pred.UGE, Pred.TEST})


def run(function: Function) -> bool:
    """Narrow what can be. Returns whether anything changed."""
    return _Narrowing(function).run()


def demanded_bits(function: Function) -> dict[Value, int]:
    """For each value a mask of the bits that any user looks at, directly or through further operations."""
    demanded: dict[Value, int] = {}
    work: list[Value] = []

    def demand(value: Value, mask: int) -> None:
        old = demanded.get(value, 0)
        if mask | old != old:
            demanded[value] = old | mask
            work.append(value)

    for op in function.ops():
        if not _transparent(op):
            for operand, mask in _demands(op, _ALL):
                demand(operand, mask)
    while work:
        value = work.pop()
        if _transparent(value):
            for operand, mask in _demands(value, demanded[value]):
                demand(operand, mask)
    return demanded


def _transparent(op: Value) -> bool:
    """Whether what ``op`` demands of its operands depends on what is demanded of it."""
    return isinstance(op, Binary | ops.Neg | ops.Phi | ops.Trunc | ops.Zext | ops.Sext)


def _up_to(mask: int) -> int:
    """All bits up to the highest of ``mask``."""
    return (1 << mask.bit_length()) - 1


def _demands(op: Value, mask: int) -> list[tuple[Value, int]]:
    """What ``op`` looks at in its operands when ``mask`` is looked at in its result."""
    match op:
        case Binary(op=kind) if kind in _UPWARD:
            return [(op.left, _up_to(mask)), (op.right, _up_to(mask))]
        case Binary(op=BinOp.AND, right=Const(value=c)):
            return [(op.left, mask & c), (op.right, mask)]
        case Binary(op=kind) if kind in _BITWISE:
            return [(op.left, mask), (op.right, mask)]
        case Binary(op=BinOp.SHL, right=Const(value=c)):
            return [(op.left, mask >> c), (op.right, _ALL)]
        case Binary(op=BinOp.LSHR, right=Const(value=c)) if op.type == I64:
            return [(op.left, mask << c & _ALL), (op.right, _ALL)]
        case ops.Neg():
            return [(op.operand, _up_to(mask))]
        case ops.Phi():
            return [(value, mask) for value in op.incoming.values()]
        case ops.Trunc():
            return [(op.operand, mask & _LOW)]
        case ops.Zext() | ops.Sext():
            low = (1 << op.bits) - 1
            sign = 1 << (op.bits - 1) if isinstance(op, ops.Sext) and mask & ~low else 0
            return [(op.operand, mask & low | sign)]
        case ops.Store():
            return [(op.pointer, _ALL), (op.value, (1 << op.width * 8) - 1)]
        case _:
            return [(operand, _ALL) for operand in op.operands()]


class _Narrowing:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.uses = uses(function)
        self.demanded = demanded_bits(function)
        self.replaced: dict[Value, Value] = {}
        self.out: list[Op] = []
        self.changed = False

    def run(self) -> bool:
        for block in self.function.blocks:
            self.out = []
            for op in block.ops:
                new = self.narrowed(op)
                if new is None:
                    self.out.append(op)
                elif isinstance(op, Cmp):
                    self.replaced[op] = self.emit(new, op)
                else:
                    self.replaced[op] = self.emit(ops.Zext(32, self.emit(new, op), type=I64), op)
            block.ops = self.out
        substitute(self.function, self.replaced)
        return bool(self.replaced)

    def emit(self, new: Op, old: Op) -> Op:
        new.span = old.span
        new.name = old.name
        self.out.append(new)
        return new

    def low(self, value: Value, user: Op) -> Value:
        """The low half of an i64."""
        if isinstance(value, Const):
            return self.emit(const(value.value, I32), user)
        if isinstance(value, ops.Zext) and value.bits == 32:
            return value.operand if value.operand.type == I32 else self.low(value.operand, user)
        return self.emit(ops.Trunc(value, type=I32), user)

    def narrowed(self, op: Op) -> Op | None:
        """The 32-bit operation to take the place of ``op``."""
        match op:
            case Binary() if op.type == I64 and self.fits(op):
                return Binary(op.op, self.low(op.left, op), self.low(op.right, op), type=I32)
            case ops.Neg() if op.type == I64 and self.demanded.get(op, 0) <= _LOW:
                return ops.Neg(self.low(op.operand, op), type=I32)
            case Cmp() if op.left.type == I64 and op.pred in _UNSIGNED and self.comparable(op):
                return Cmp(op.pred, self.low(op.left, op), self.low(op.right, op))
            case _:
                return None

    def fits(self, op: Binary) -> bool:
        demanded = self.demanded.get(op, 0)
        match op.op:
            case BinOp.ADD | BinOp.SUB | BinOp.MUL | BinOp.AND | BinOp.OR | BinOp.XOR if demanded <= _LOW:
                return True
            case BinOp.SHL if isinstance(op.right, Const) and demanded <= _LOW:
                return op.right.value < 32
            case BinOp.UDIV | BinOp.UREM:
                return (possible_bits(op.left) | possible_bits(op.right)) <= _LOW
            case BinOp.AND | BinOp.OR | BinOp.XOR:
                return _awkward(op.right) and possible_bits(op.left) <= _LOW
            case _:
                return False

    def comparable(self, op: Cmp) -> bool:
        """Whether both sides have no higher bits, and comparing the low halves saves something."""
        if (possible_bits(op.left) | possible_bits(op.right)) > _LOW:
            return False
        return _awkward(op.right) or any(self.only_cut(side) for side in (op.left, op.right))

    def only_cut(self, value: Value) -> bool:
        """Whether a value was cut to 32 bits from a wider one for comparisons alone."""
        return (
            isinstance(value, ops.Zext)
            and value.bits == 32
            and value.operand.type == I64
            and all(isinstance(user, Cmp) for user in self.uses[value])
        )


def _awkward(value: Value) -> bool:
    """Whether a constant fits 32 bits, but not as the sign-extended immediate of a 64-bit instruction."""
    return isinstance(value, Const) and 1 << 31 <= value.value <= _LOW
