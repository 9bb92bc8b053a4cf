"""Algebraic simplification and copy propagation: each operation becomes the cheapest that gives the same
result.

::

    %1 = load.1 i64 %p + 0                   %1 = load.1 i64 %p + 0
    %2 = const i64 8                         %2 = const i64 8
    %3 = mul i64 %2, %1               →      %5 = const i64 3
    %4 = zext.32 i64 %3                      %3 = shl i64 %1, %5

Identities (``x + 0``, ``x & x``, trivial phis), strength reduction (multiplication and unsigned division by
powers of two), constants on the right, byte swaps moved from a loaded value to the constant that it is
compared with, extensions and masks that change nothing, comparisons that ask what is known, booleans compared
with 0.

An operation is only combined with an operand that has no other use where a check of that operand could
otherwise be lost to the kernel's verifier (``(x + 1) + 2``: ``x + 1`` may be what was compared with a bound).

Requires: nothing. Invalidates: nothing; what is no longer used is left to ``dead_code``.
"""

from __future__ import annotations

from pyebpf.backend.passes.evaluate import byte_swap, compare, evaluate, possible_bits
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import ops
from pyebpf.ir.cfg import reverse_postorder, uses
from pyebpf.ir.edit import substitute
from pyebpf.ir.ops import BinOp, Block, Cmp, Const, Function, Op, Pred, Value, const
from pyebpf.ir.predicates import INVERSE, MIRRORED, UNSIGNED
from pyebpf.ir.types import I1, I32, I64, IntTy, PtrTy
from pyebpf.ir.verify import MEMORY

if TYPE_CHECKING:
    from typing import Final


_COMMUTATIVE: Final = frozenset({BinOp.ADD, BinOp.MUL, BinOp.AND, BinOp.OR, BinOp.XOR})
_REASSOCIATED: Final = frozenset({BinOp.ADD, BinOp.MUL, BinOp.AND, BinOp.OR, BinOp.XOR})
_RIGHT_ZERO: Final = frozenset({BinOp.ADD, BinOp.SUB, BinOp.OR, BinOp.XOR, BinOp.SHL, BinOp.LSHR, BinOp.ASHR})


def run(function: Function) -> bool:
    """Simplify every operation once, operands first. Returns whether anything changed."""
    return _Simplifier(function).run()


class _Simplifier:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.uses = uses(function)
        self.replaced: dict[Value, Value] = {}
        self.changed = False
        self.out: list[Op] = []
        self.done: set[Block] = set()

    def run(self) -> bool:
        for block in reverse_postorder(self.function):
            self.block(block)
            self.done.add(block)
        substitute(self.function, self.replaced)
        return self.changed

    def block(self, block: Block) -> None:
        self.out = []
        for op in block.ops:
            op.map_operands(self.resolve)
            self.span = op.span
            new = self.rule(op)
            if new is not None and new is not op:
                self.changed = True
                self.replaced[op] = new
                self.uses[new] = self.uses.get(new, []) + self.uses[op]
                if not new.name:
                    new.name = op.name
            else:
                self.out.append(op)
        # Phis that were replaced by constants leave those before the phis that stay.
        phis = [op for op in self.out if isinstance(op, ops.Phi)]
        block.ops = [*phis, *(op for op in self.out if not isinstance(op, ops.Phi))]

    def resolve(self, value: Value) -> Value:
        while value in self.replaced:
            value = self.replaced[value]
        return value

    def new(self, op: Op) -> Op:
        """Put a new operation before the current one."""
        op.span = self.span
        self.out.append(op)
        self.uses[op] = []
        return op

    def const(self, value: int, like: Value) -> Op:
        assert isinstance(like.type, IntTy)
        return self.new(const(value, like.type))

    def single(self, value: Value) -> bool:
        """Whether ``value`` has no other use than the one at hand."""
        return len(self.uses[value]) == 1

    def rule(self, op: Op) -> Value | None:
        """What ``op`` can be replaced by; None or ``op`` itself, perhaps changed in place, if it stays."""
        operands = list(op.operands())
        if operands and not isinstance(op, ops.Phi) and all(isinstance(o, Const) for o in operands):
            folded = evaluate(op, [o.value for o in operands if isinstance(o, Const)])
            if folded is not None:
                return self.const(folded, op)
        match op:
            case ops.Binary():
                return self.binary(op)
            case Cmp():
                return self.cmp(op)
            case ops.Zext():
                return self.zext(op)
            case ops.Sext():
                return self.sext(op)
            case ops.Trunc():
                return self.trunc(op)
            case ops.ByteSwap(operand=ops.ByteSwap() as inner) if inner.bits == op.bits:
                return self.low(inner.operand, op.bits)
            case ops.Neg(operand=ops.Neg() as inner):
                return inner.operand
            case ops.Phi():
                return self.phi(op)
            case ops.NonNull(pointer=pointer):
                return pointer if isinstance(pointer.type, PtrTy) and not pointer.type.nullable else None
            case ops.PtrAdd():
                return self.ptradd(op)
            case ops.Store():
                op.value = self.stored(op.value, op.width)
                return None
            case ops.Branch():
                return self.branch(op)
            case _:
                return None

    # ------------------------------------------------------------ arithmetic

    def binary(self, op: ops.Binary) -> Value | None:
        if op.op in _COMMUTATIVE and isinstance(op.left, Const) and not isinstance(op.right, Const):
            op.left, op.right = op.right, op.left
            self.changed = True
        if op.left is op.right:
            if op.op in (BinOp.AND, BinOp.OR):
                return op.left
            if op.op in (BinOp.SUB, BinOp.XOR):
                return self.const(0, op)
        if isinstance(op.right, Const):
            return self.with_constant(op, op.right.value)
        if op.op is BinOp.SUB and isinstance(op.left, Const) and op.left.value == 0:
            return self.new(ops.Neg(op.right, type=op.type))
        if op.op is BinOp.ADD and isinstance(op.right, ops.Neg) and self.single(op.right):
            return self.new(ops.Binary(BinOp.SUB, op.left, op.right.operand, type=op.type))
        return None

    def with_constant(self, op: ops.Binary, c: int) -> Value | None:
        assert isinstance(op.type, IntTy)
        bits = op.type.bits
        full = (1 << bits) - 1
        x, kind = op.left, op.op
        if c == 0 and kind in _RIGHT_ZERO:
            return x
        if c == 0 and kind in (BinOp.MUL, BinOp.AND):
            return self.const(0, op)
        if c == 1 and kind in (BinOp.MUL, BinOp.UDIV, BinOp.SDIV):
            return x
        if c == 1 and kind in (BinOp.UREM, BinOp.SREM):
            return self.const(0, op)
        if kind is BinOp.LSHR and possible_bits(x) >> c == 0:
            return self.const(0, op)
        if c == full and kind is BinOp.OR:
            return self.const(full, op)
        if c == full and kind is BinOp.MUL:
            return self.new(ops.Neg(x, type=op.type))
        if op.type == I1:
            return self.inverted(x) if kind is BinOp.XOR else (x if kind is BinOp.AND else None)
        if kind is BinOp.SUB:
            return self.new(ops.Binary(BinOp.ADD, x, self.const(-c, op), type=op.type))
        if c & (c - 1) == 0 and kind in (BinOp.MUL, BinOp.UDIV):
            shift = BinOp.SHL if kind is BinOp.MUL else BinOp.LSHR
            return self.new(ops.Binary(shift, x, self.const(c.bit_length() - 1, op), type=op.type))
        if c & (c - 1) == 0 and kind is BinOp.UREM:
            return self.new(ops.Binary(BinOp.AND, x, self.const(c - 1, op), type=op.type))
        if kind is BinOp.AND:
            possible = possible_bits(x)
            if possible & c == 0:
                return self.const(0, op)
            if possible & ~c & full == 0:
                return x
            if c in (0xFF, 0xFFFF, 0xFFFF_FFFF) and op.type == I64:
                return self.new(ops.Zext(c.bit_length(), x, type=I64))
        return self.reassociated(op, c)

    def reassociated(self, op: ops.Binary, c: int) -> Value | None:
        """``(x op c1) op c2`` and shifts of shifts."""
        assert isinstance(op.type, IntTy)
        inner, bits = op.left, op.type.bits
        if not isinstance(inner, ops.Binary) or not isinstance(inner.right, Const) or not self.single(inner):
            return None
        c1, kind = inner.right.value, op.op
        if inner.op is kind and kind in _REASSOCIATED:
            joined = ops.Binary(kind, inner.right, op.right, type=op.type)
            value = evaluate(joined, [c1, c])
            assert value is not None
            return self.new(ops.Binary(kind, inner.left, self.const(value, op), type=op.type))
        if inner.op is kind and kind in (BinOp.SHL, BinOp.LSHR):
            if c1 + c >= bits:
                return self.const(0, op)
            return self.new(ops.Binary(kind, inner.left, self.const(c1 + c, op), type=op.type))
        if inner.op is BinOp.SHL and kind is BinOp.LSHR and c1 == c:
            if bits == 64 and c == 32:
                return self.new(ops.Zext(32, inner.left, type=I64))
            if bits - c < 32:  # the mask fits an instruction
                mask = self.const((1 << (bits - c)) - 1, op)
                return self.new(ops.Binary(BinOp.AND, inner.left, mask, type=op.type))
        return None

    # ------------------------------------------------------------ comparisons

    def inverted(self, condition: Value) -> Value | None:
        """The negation of an i1, where it costs nothing."""
        match condition:
            case Cmp() if condition.pred in INVERSE:
                return self.new(Cmp(INVERSE[condition.pred], condition.left, condition.right))
            case ops.Binary(op=BinOp.XOR, right=Const(value=1)):
                return condition.left
            case _:
                return None

    def cmp(self, op: Cmp) -> Value | None:
        left, right = op.left, op.right
        if not isinstance(left.type, IntTy):
            return None
        sign = 1 << (left.type.bits - 1)
        if isinstance(left, Const) and not isinstance(right, Const):
            op.left, op.right, op.pred = right, left, MIRRORED[op.pred]
            self.changed = True
            left, right = op.left, op.right
        if left is right and op.pred is not Pred.TEST:
            return self.const(int(compare(op.pred, 0, 0, 64)), op)
        if op.pred in UNSIGNED and not (possible_bits(left) | possible_bits(right)) & sign:
            op.pred = UNSIGNED[op.pred]
            self.changed = True
        if isinstance(right, Const):
            return self.cmp_constant(op, right.value)
        return None

    def cmp_constant(self, op: Cmp, c: int) -> Value | None:
        left, pred = op.left, op.pred
        assert isinstance(left.type, IntTy)
        known = self.decided(op, c)
        if known is not None:
            return self.const(int(known), op)
        if left.type == I1:
            return left if (pred is Pred.NE) != (c == 1) else self.inverted_or_xor(left)
        equality = pred in (Pred.EQ, Pred.NE)
        if (pred is Pred.ULT and c == 1) or (pred is Pred.ULE and c == 0):
            return self.new(Cmp(Pred.EQ, left, self.const(0, left)))
        if (pred is Pred.UGE and c == 1) or (pred is Pred.UGT and c == 0):
            return self.new(Cmp(Pred.NE, left, self.const(0, left)))
        match left:
            case ops.Zext(bits=1) if left.operand.type == I1 and equality and c <= 1:
                return left.operand if (pred is Pred.NE) != (c == 1) else self.inverted_or_xor(left.operand)
            case ops.Binary(op=BinOp.XOR | BinOp.SUB) if equality and c == 0 and self.single(left):
                return self.new(Cmp(pred, left.left, left.right))
            case ops.Binary(op=BinOp.AND, right=Const(value=mask)) if equality and c == mask != 0:
                if mask & (mask - 1) == 0:
                    other = Pred.NE if pred is Pred.EQ else Pred.EQ
                    return self.new(Cmp(other, left, self.const(0, left)))
            case ops.ByteSwap() if equality and self.swap_is_superfluous(left):
                return self.new(Cmp(pred, left.operand, self.const(byte_swap(c, left.bits), left)))
            case _:
                pass
        return None

    def decided(self, op: Cmp, c: int) -> bool | None:
        """The answer, where the bits that the left side may have leave no other."""
        assert isinstance(op.left.type, IntTy)
        full = (1 << op.left.type.bits) - 1
        bits = possible_bits(op.left)
        # ``bits`` is also the greatest value possible; 0 the least.
        match op.pred:
            case Pred.EQ | Pred.NE if c & ~bits:
                return op.pred is Pred.NE
            case Pred.ULT | Pred.UGE if c == 0 or bits < c:
                return (op.pred is Pred.ULT) == (c != 0)
            case Pred.ULE | Pred.UGT if c == full or bits <= c:
                return op.pred is Pred.ULE
            case Pred.TEST if bits & c == 0:
                return False
            case _:
                return None

    def swap_is_superfluous(self, swap: ops.ByteSwap) -> bool:
        """Whether all uses compare with constants (which can be swapped instead) and the operand is as
        narrow."""
        if possible_bits(swap.operand) >> swap.bits:
            return False
        return all(
            isinstance(user, Cmp) and user.pred in (Pred.EQ, Pred.NE) and isinstance(user.right, Const)
            for user in self.uses[swap]
        )

    def inverted_or_xor(self, condition: Value) -> Value:
        return self.inverted(condition) or self.new(
            ops.Binary(BinOp.XOR, condition, self.const(1, condition), type=I1)
        )

    # ------------------------------------------------------------ extensions

    def low(self, value: Value, bits: int) -> Value:
        """The low ``bits`` of an i64."""
        if value.type == I64 and possible_bits(value) >> bits == 0:
            return value
        if value.type == I32:
            return self.new(ops.Zext(32, value, type=I64))
        return self.new(ops.Zext(bits, value, type=I64)) if bits < 64 else value

    def zext(self, op: ops.Zext) -> Value | None:
        x = op.operand
        if x.type == I64 and possible_bits(x) >> op.bits == 0:
            return x
        match x:
            case ops.Zext() | ops.Sext() if x.bits >= op.bits and x.operand.type in (I32, I64):
                return self.new(ops.Zext(op.bits, x.operand, type=I64))
            case ops.Trunc():
                return self.new(ops.Zext(op.bits, x.operand, type=I64))
            case ops.Binary(op=BinOp.AND, right=Const(value=mask)) if self.single(x):
                if mask & ((1 << op.bits) - 1) == (1 << op.bits) - 1:
                    return self.new(ops.Zext(op.bits, x.left, type=I64))
            case _:
                pass
        return None

    def sext(self, op: ops.Sext) -> Value | None:
        x = op.operand
        if x.type == I64 and possible_bits(x) >> (op.bits - 1) == 0:
            return x
        match x:
            case ops.Sext() if x.bits <= op.bits:
                return x
            case ops.Zext() | ops.Sext() if x.bits >= op.bits and x.operand.type in (I32, I64):
                return self.new(ops.Sext(op.bits, x.operand, type=I64))
            case ops.Load(type=IntTy(bits=64), signed=False) if (
                x.width * 8 == op.bits
                and self.single(x)
                and isinstance(x.pointer.type, PtrTy)
                and x.pointer.type.space in MEMORY
            ):
                # Fields of contexts and kernel objects are left alone: the kernel rewrites their loads.
                x.signed = True
                self.changed = True
                return x
            case _:
                return None

    def trunc(self, op: ops.Trunc) -> Value | None:
        match op.operand:
            case ops.Zext(bits=32) | ops.Sext(bits=32) as inner:
                return (
                    inner.operand
                    if inner.operand.type == I32
                    else self.new(ops.Trunc(inner.operand, type=I32))
                )
            case _:
                return None

    def stored(self, value: Value, width: int) -> Value:
        """``value`` without an extension or mask that only changes bits which a store of ``width`` bytes
        drops."""
        bits = width * 8
        while True:
            match value:
                case ops.Zext() | ops.Sext() if value.bits >= bits and value.operand.type in (I32, I64):
                    value = value.operand
                case ops.Binary(op=BinOp.AND, right=Const(value=mask)) if (
                    mask & (1 << bits) - 1 == (1 << bits) - 1
                ):
                    value = value.left
                case _:
                    return value
            self.changed = True

    # ------------------------------------------------------------ the rest

    def phi(self, op: ops.Phi) -> Value | None:
        """A phi whose inputs are all one value, or itself, is that value; so are inputs that are equal
        constants."""
        found: Value | None = None
        for value in op.incoming.values():
            if value is op or value is found:
                continue
            if isinstance(value, Const) and isinstance(found, Const) and value.value == found.value:
                continue
            if found is not None:
                return self.sunk(op)
            found = value
        if isinstance(found, Const) and isinstance(op.type, IntTy):
            return self.const(found.value, op)
        return found if found is None or found.type == op.type else None

    def sunk(self, op: ops.Phi) -> Value | None:
        """A phi of extensions or byte swaps of one kind is that operation on a phi, once instead of on each
        way.

        Around a loop only byte swaps move: an extension there often costs nothing where it is."""
        first = next((v for v in op.incoming.values() if not isinstance(v, Const)), None)
        if not isinstance(first, ops.Zext | ops.ByteSwap) or first.operand.type == I32:
            return None
        if isinstance(first, ops.Zext) and not self.done.issuperset(op.incoming):
            return None
        inputs: dict[Block, Value] = {}
        for block, value in op.incoming.items():
            match value:
                case Const():
                    small = (
                        byte_swap(value.value, first.bits) if isinstance(first, ops.ByteSwap) else value.value
                    )
                    if value.value >> first.bits or block not in self.done:
                        return None
                    assert isinstance(first.operand.type, IntTy)
                    inputs[block] = const(small, first.operand.type, value.span)
                case ops.Zext() | ops.ByteSwap() if (
                    type(value) is type(first)
                    and (value.bits, value.operand.type) == (first.bits, first.operand.type)
                    and self.single(value)
                ):
                    inputs[block] = value.operand
                case _:
                    return None
        for block, constant in inputs.items():
            if isinstance(constant, Const) and constant not in self.uses:
                self.uses[constant] = []
                block.ops.insert(-1, constant)
        inner = self.new(ops.Phi(inputs, type=first.operand.type, name=op.name))
        return self.new(type(first)(first.bits, inner, type=op.type))

    def ptradd(self, op: ops.PtrAdd) -> Value | None:
        base, offset = op.base, op.offset
        if (
            not isinstance(offset, Const)
            or not isinstance(op.type, PtrTy)
            or not isinstance(base.type, PtrTy)
        ):
            return None
        if offset.value == 0 and (op.type.size is None or base.type.size is not None):
            return base
        if isinstance(base, ops.PtrAdd) and isinstance(base.offset, Const):
            # Constant offsets from one packet pointer share its checked range, so nothing is lost.
            total = self.const(base.offset.value + offset.value, offset)
            return self.new(ops.PtrAdd(base.base, total, type=op.type))
        return None

    def branch(self, op: ops.Branch) -> Value | None:
        """A branch on a negation goes the other way; ``unlikely`` belongs to ``then`` and keeps it from
        moving."""
        match op.condition:
            case ops.Binary(op=BinOp.XOR, right=Const(value=1)) if not op.unlikely:
                op.condition = op.condition.left
                op.then, op.otherwise = op.otherwise, op.then
                self.changed = True
            case _:
                pass
        return None
