"""Random functions of expressions, branches, loops and frame accesses: the kernel against Python.

A function is made by a seeded generator that evaluates nothing: ``interpret`` runs the same SSA in Python.
"""

from __future__ import annotations

import random
import struct

import pytest

from pyebpf.ir import ops
from pyebpf.ir.builder import Builder
from pyebpf.ir.ops import BinOp, Block, Function, Pred, Value
from pyebpf.ir.types import I1, I32, I64, IntTy
from pyebpf.target import Isa
from tests.kernel.codegen.arithmetic import CORNERS_64, binary, compare, signed, swap
from tests.kernel.codegen.harness import loaded, packet_module

INPUTS, RESULTS = 4, 8
FRAME = 64
SIZE = 8 * (INPUTS + RESULTS)


class Generator:
    """Fills a function; ``pool`` has the integer values that may be used at the current place."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.pool: list[Value] = []

    def body(self, builder: Builder, packet: Value) -> None:
        self.builder = builder
        self.frame = builder.alloca(FRAME, 8, "frame")
        builder.memzero(self.frame, 0, FRAME, 8)
        self.pool = [builder.load(packet, 8 * i, 8) for i in range(INPUTS)]
        self.statements(self.random.randint(3, 14), 2)
        results = [self.mixed() for _ in range(RESULTS)]
        for i, result in enumerate(results):
            builder.store(packet, 8 * (INPUTS + i), 8, result)

    def statements(self, count: int, depth: int) -> None:
        for _ in range(count):
            roll = self.random.random()
            if roll < 0.2 and depth:
                self.diamond(depth - 1)
            elif roll < 0.3 and depth:
                self.loop(depth - 1)
            elif roll < 0.45:
                self.memory()
            else:
                for _ in range(self.random.randint(1, 8)):
                    self.pool.append(self.expression())

    def mixed(self) -> Value:
        """A value that depends on several others, so that much of what was computed is needed."""
        mixed = self.value(I64)
        for _ in range(6):
            mixed = self.builder.binary(BinOp.XOR, mixed, self.value(I64))
        return mixed

    def constant(self, type_: IntTy) -> Value:
        pick = self.random.choice(
            (0, 1, 3, 8, 255, self.random.choice(CORNERS_64), self.random.getrandbits(64))
        )
        return self.builder.const(pick, type_)

    def value(self, type_: IntTy) -> Value:
        if self.random.random() < 0.2:
            return self.constant(type_)
        fitting = [v for v in self.pool if v.type == type_]
        if fitting and self.random.random() < 0.9:
            # Old values too, so that registers run out.
            return self.random.choice(fitting)
        if type_ == I64:
            narrow = [v for v in self.pool if v.type == I32]
            return self.builder.zext(32, self.random.choice(narrow)) if narrow else self.constant(I64)
        if type_ == I32:
            return self.builder.trunc(self.value(I64))
        return self.builder.cmp(self.random.choice(list(Pred)), self.value(I64), self.value(I64))

    def expression(self) -> Value:
        builder, pick = self.builder, self.random
        type_ = pick.choice((I64, I64, I64, I32, I32, I1))
        roll = pick.random()
        if type_ == I1:
            if roll < 0.7:
                width = pick.choice((I64, I32))
                return builder.cmp(pick.choice(list(Pred)), self.value(width), self.value(width))
            op = pick.choice((BinOp.AND, BinOp.OR, BinOp.XOR))
            return builder.binary(op, self.value(I1), self.value(I1))
        if roll < 0.65:
            op = pick.choice(list(BinOp))
            right = self.value(type_)
            if op in (BinOp.SHL, BinOp.LSHR, BinOp.ASHR):
                right = builder.binary(BinOp.AND, right, builder.const(type_.bits - 1, type_))
            if op in (BinOp.UDIV, BinOp.UREM, BinOp.SDIV, BinOp.SREM):
                right = builder.binary(BinOp.OR, right, builder.const(1, type_))
            return builder.binary(op, self.value(type_), right)
        if roll < 0.7:
            return builder.neg(self.value(type_))
        if roll < 0.75:
            return builder.bswap(pick.choice((16, 32, 64) if type_ == I64 else (16, 32)), self.value(type_))
        if type_ == I32:
            return builder.trunc(self.value(I64))
        if roll < 0.8:
            return builder.zext(1, self.value(I1))
        source = self.value(pick.choice((I64, I32)))
        bits = pick.choice((8, 16, 32))
        return builder.zext(bits, source) if roll < 0.9 else builder.sext(bits, source)

    def memory(self) -> None:
        builder, pick = self.builder, self.random
        width = pick.choice((1, 2, 4, 8))
        place = pick.randrange(0, FRAME, width)
        if pick.random() < 0.5:
            builder.store(self.frame, place, width, self.value(I64))
        elif pick.random() < 0.3:
            mask = builder.const(FRAME - 1 & -width)
            where = builder.ptradd(self.frame, builder.binary(BinOp.AND, self.value(I64), mask))
            self.pool.append(builder.load(where, 0, width))
        else:
            type_ = I64 if width == 8 else pick.choice((I64, I32))
            self.pool.append(builder.load(self.frame, place, width, signed=pick.random() < 0.5, type=type_))

    def diamond(self, depth: int) -> None:
        builder, outside = self.builder, list(self.pool)
        then, other, join = (builder.new_block(n) for n in ("then", "else", "join"))
        builder.branch(self.value(I1), then, other, unlikely=self.random.random() < 0.2)
        types = [self.random.choice((I64, I64, I32, I1)) for _ in range(self.random.randint(0, 4))]
        incoming: list[dict[Block, Value]] = [{} for _ in types]
        for block in (then, other):
            builder.block, self.pool = block, list(outside)
            if self.random.random() < 0.8:
                self.statements(self.random.randint(0, 3), depth)
            chosen = [self.value(t) for t in types]
            for number, value in enumerate(chosen):
                incoming[number][builder.block] = value
            builder.jump(join)
        builder.block = join
        phis = [builder.phi(t, i) for t, i in zip(types, incoming, strict=True)]
        self.pool = [*outside, *phis]

    def loop(self, depth: int) -> None:
        builder, outside = self.builder, list(self.pool)
        head, body, after = (builder.new_block(n) for n in ("head", "body", "after"))
        types = [self.random.choice((I64, I32)) for _ in range(self.random.randint(1, 4))]
        zero, starts, before = builder.const(0), [self.value(t) for t in types], None
        before = builder.block
        builder.jump(head)
        builder.block = head
        counter = builder.phi(I64, {before: zero})
        phis = [builder.phi(t, {before: s}) for t, s in zip(types, starts, strict=True)]
        limit = builder.const(self.random.randint(1, 5))
        builder.emit(ops.CompareBranch(Pred.ULT, counter, limit, body, after))
        builder.block, self.pool = body, [*outside, counter, *phis]
        self.statements(self.random.randint(1, 2), depth)
        following = builder.binary(BinOp.ADD, counter, builder.const(1))
        # Values may be passed on in another order, which takes parallel moves.
        passed: list[Value] = [
            self.random.choice([p for p in phis if p.type == t])
            if self.random.random() < 0.5
            else self.value(t)
            for t in types
        ]
        counter.incoming[builder.block] = following
        for phi, value in zip(phis, passed, strict=True):
            phi.incoming[builder.block] = value
        builder.jump(head)
        builder.block, self.pool = after, [*outside, *phis]


def interpret(function: Function, words: list[int]) -> list[int]:
    """Run the ``main`` of ``packet_module`` on a packet of ``words``; the words afterwards."""
    packet = bytearray(struct.pack(f"<{len(words)}Q", *words))
    frame = bytearray(FRAME)
    env: dict[Value, object] = {}
    block, came = next(b for b in function.blocks if b.name == "good"), function.entry
    while True:
        phis: dict[Value, object] = {p: env[p.incoming[came]] for p in block.phis()}
        env.update(phis)
        for op in block.ops:
            step = _step(op, env, packet, frame)
            if isinstance(step, Block):
                block, came = step, block
                break
            if isinstance(op, ops.Return):
                return list(struct.unpack(f"<{len(words)}Q", packet))


def _step(op: ops.Op, env: dict[Value, object], packet: bytearray, frame: bytearray) -> Block | None:
    def number(value: Value) -> int:
        found = value.value if isinstance(value, ops.Const) else env[value]
        assert isinstance(found, int)
        return found

    def place(pointer: Value, offset: int) -> tuple[bytearray, int]:
        match pointer:
            case ops.Alloca():
                return frame, offset
            case ops.PtrAdd(base=base, offset=distance):
                return place(base, offset + number(distance))
            case _:
                return packet, offset

    match op:
        case ops.Const(value=value):
            env[op] = value
        case ops.Binary(op=operation, left=left, right=right):
            assert isinstance(op.type, IntTy)
            env[op] = binary(operation, number(left), number(right), op.type.bits)
        case ops.Cmp(pred=pred, left=left, right=right):
            assert isinstance(left.type, IntTy)
            env[op] = int(compare(pred, number(left), number(right), left.type.bits))
        case ops.Neg(operand=operand):
            assert isinstance(op.type, IntTy)
            env[op] = -number(operand) & (1 << op.type.bits) - 1
        case ops.ByteSwap(bits=bits, operand=operand):
            env[op] = swap(number(operand), bits)
        case ops.Trunc(operand=operand):
            env[op] = number(operand) & 0xFFFF_FFFF
        case ops.Zext(bits=bits, operand=operand):
            env[op] = number(operand) & (1 << bits) - 1
        case ops.Sext(bits=bits, operand=operand):
            env[op] = signed(number(operand), bits) & (1 << 64) - 1
        case ops.Load(pointer=pointer, offset=offset, width=width):
            memory, at = place(pointer, offset)
            value = int.from_bytes(memory[at : at + width], "little")
            assert isinstance(op.type, IntTy)
            env[op] = (signed(value, 8 * width) if op.signed else value) & (1 << op.type.bits) - 1
        case ops.Store(pointer=pointer, offset=offset, width=width, value=stored):
            memory, at = place(pointer, offset)
            memory[at : at + width] = (number(stored) & (1 << 8 * width) - 1).to_bytes(width, "little")
        case ops.MemZero(pointer=pointer, offset=offset, size=size):
            memory, at = place(pointer, offset)
            memory[at : at + size] = bytes(size)
        case ops.Jump(target=target):
            return target
        case ops.Branch(condition=condition, then=then, otherwise=otherwise):
            return then if number(condition) else otherwise
        case ops.CompareBranch(pred=pred, left=left, right=right, then=then, otherwise=otherwise):
            assert isinstance(left.type, IntTy)
            return then if compare(pred, number(left), number(right), left.type.bits) else otherwise
        case ops.Phi() | ops.Alloca() | ops.PtrAdd() | ops.Return():
            pass
        case _:
            raise AssertionError(f"not generated: {op}")
    return None


@pytest.mark.parametrize("level", list(Isa))
@pytest.mark.parametrize("group", range(5))
def test_random_functions(group: int, level: Isa) -> None:
    for seed in range(group * 10, group * 10 + 10):
        module = packet_module(Generator(seed).body, SIZE)
        inputs = random.Random(seed)
        with loaded(module, level) as program:
            for _ in range(12):
                given = [
                    inputs.choice((inputs.getrandbits(64), inputs.choice(CORNERS_64))) for _ in range(INPUTS)
                ]
                words = given + [0] * RESULTS
                verdict, packet = program.run(struct.pack(f"<{len(words)}Q", *words))
                assert verdict == 2
                got = list(struct.unpack(f"<{len(words)}Q", packet))
                assert got == interpret(module.functions["main"], words), f"seed {seed}, input {given}"
