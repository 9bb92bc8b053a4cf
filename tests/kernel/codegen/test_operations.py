"""Every integer operation at corner values on the kernel, on every level of the instruction set.

Each program takes two operands from the packet and writes its results behind them: with both operands in
registers, and with each corner value as a constant on either side.
"""

from __future__ import annotations

import itertools
import struct

import pytest

from pyebpf.ir import ops
from pyebpf.ir.builder import Builder
from pyebpf.ir.ops import BinOp, Pred, Value
from pyebpf.ir.types import I1, I32, I64, IntTy
from pyebpf.target import Isa
from tests.kernel.codegen.arithmetic import CORNERS_32, CORNERS_64, binary, compare, signed, swap
from tests.kernel.codegen.harness import Body, loaded, packet_module

LEVELS = list(Isa)
SHIFTS = (BinOp.SHL, BinOp.LSHR, BinOp.ASHR)
DIVISIONS = (BinOp.UDIV, BinOp.UREM, BinOp.SDIV, BinOp.SREM)
A, B, RESULTS = 0, 8, 16


def corners(bits: int) -> tuple[int, ...]:
    return CORNERS_64 if bits == 64 else CORNERS_32


def widen(builder: Builder, value: Value) -> Value:
    """A result as the i64 that is stored."""
    assert isinstance(value.type, IntTy)
    if value.type == I64:
        return value
    return builder.zext(value.type.bits, value)


def operand(builder: Builder, packet: Value, offset: int, type_: IntTy) -> Value:
    """An operand from the packet; an i32 with garbage above it."""
    value = builder.load(packet, offset, 8)
    return value if type_ == I64 else builder.trunc(value)


def check(body: Body, results: int, level: Isa, runs: list[tuple[int, int, list[int | None]]]) -> None:
    """Run the program for each (a, b, expected results); ``None`` is not compared."""
    size = RESULTS + 8 * results
    with loaded(packet_module(body, size), level) as program:
        for a, b, expected in runs:
            verdict, after = program.run(struct.pack("<QQ", a, b).ljust(size, b"\xaa"))
            assert verdict == 2
            got = struct.unpack_from(f"<{results}Q", after, RESULTS)
            for number, (value, want) in enumerate(zip(got, expected, strict=True)):
                if want is not None:
                    assert value == want, f"result {number} of {a:#x}, {b:#x}: {value:#x}, expected {want:#x}"


def dirty(value: int, bits: int) -> int:
    """What the packet holds for an operand: an i32 has something above it that must not matter."""
    return value if bits == 64 else value | 0xDEAD_BEEF << 32


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("type_", [I32, I64], ids=str)
@pytest.mark.parametrize("op", list(BinOp))
def test_binary(op: BinOp, type_: IntTy, level: Isa) -> None:
    bits = type_.bits
    legal = [c for c in corners(bits) if (op not in SHIFTS or c < bits) and (op not in DIVISIONS or c)]
    if op in SHIFTS:
        legal = sorted({*legal, 8, 31, bits - 1})

    def body(builder: Builder, packet: Value) -> None:
        a, b = operand(builder, packet, A, type_), operand(builder, packet, B, type_)
        results = [builder.binary(op, a, b), builder.binary(op, a, a) if op in (BinOp.ADD, BinOp.MUL) else a]
        results += [builder.binary(op, a, builder.const(c, type_)) for c in legal]
        results += [builder.binary(op, builder.const(c, type_), b) for c in corners(bits)]
        for number, result in enumerate(results):
            builder.store(packet, RESULTS + 8 * number, 8, widen(builder, result))

    runs: list[tuple[int, int, list[int | None]]] = []
    for a, b in itertools.product(corners(bits), legal):
        same = binary(op, a, a, bits) if op in (BinOp.ADD, BinOp.MUL) else a
        expected: list[int | None] = [binary(op, a, b, bits), same]
        expected += [binary(op, a, c, bits) for c in legal]
        expected += [binary(op, c, b, bits) for c in corners(bits)]
        runs.append((dirty(a, bits), dirty(b, bits), expected))
    check(body, len(runs[0][2]), level, runs)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("type_", [I32, I64], ids=str)
@pytest.mark.parametrize("pred", list(Pred))
def test_compare(pred: Pred, type_: IntTy, level: Isa) -> None:
    """As a value, as the condition of a branch, and fused."""
    bits = type_.bits
    constants = corners(bits)

    def by_branch(builder: Builder, left: Value, right: Value, fused: bool) -> Value:
        yes, no, join = builder.new_block("yes"), builder.new_block("no"), builder.new_block("join")
        if fused:
            builder.emit(ops.CompareBranch(pred, left, right, yes, no))
        else:
            builder.branch(builder.cmp(pred, left, right), yes, no)
        builder.block = yes
        one = builder.const(11)
        builder.jump(join)
        builder.block = no
        other = builder.const(22)
        builder.jump(join)
        builder.block = join
        return builder.phi(I64, {yes: one, no: other})

    def body(builder: Builder, packet: Value) -> None:
        a, b = operand(builder, packet, A, type_), operand(builder, packet, B, type_)
        pairs = [(a, b)]
        pairs += [(a, builder.const(c, type_)) for c in constants]
        pairs += [(builder.const(c, type_), b) for c in constants]
        at = RESULTS
        for number, (left, right) in enumerate(pairs):
            if number % 3 == 0:
                result: Value = builder.zext(1, builder.cmp(pred, left, right))
            else:
                result = by_branch(builder, left, right, number % 3 == 1)
            builder.store(packet, at, 8, result)
            at += 8

    def shown(number: int, truth: bool) -> int:
        return int(truth) if number % 3 == 0 else 11 if truth else 22

    runs: list[tuple[int, int, list[int | None]]] = []
    for a, b in itertools.product(corners(bits), corners(bits)):
        truths = [compare(pred, a, b, bits)]
        truths += [compare(pred, a, c, bits) for c in constants]
        truths += [compare(pred, c, b, bits) for c in constants]
        expected = [shown(i, t) for i, t in enumerate(truths)]
        runs.append((dirty(a, bits), dirty(b, bits), list(expected)))
    check(body, len(runs[0][2]), level, runs)


@pytest.mark.parametrize("level", LEVELS)
def test_widths_and_byte_order(level: Isa) -> None:
    """``Zext``, ``Sext``, ``Trunc``, ``Neg`` and ``ByteSwap`` from and to every width."""

    def results(builder: Builder, packet: Value) -> list[Value]:
        a = builder.load(packet, A, 8)
        half = builder.trunc(a)
        found: list[Value] = []
        for bits in (1, 8, 16, 32):
            found += [builder.zext(bits, a), builder.zext(bits, half)]
            found.append(builder.emit(ops.Zext(bits, a, type=I32)))
        for bits in (8, 16, 32):
            found += [builder.sext(bits, a), builder.sext(bits, half)]
            found.append(builder.emit(ops.Sext(bits, a, type=I32)))
        found += [builder.neg(a), builder.neg(half)]
        found += [builder.bswap(bits, a) for bits in (16, 32, 64)]
        found += [builder.bswap(bits, half) for bits in (16, 32)]
        # Through a 32-bit operation and back, and a mask that must stay.
        found.append(builder.zext(32, builder.binary(BinOp.ADD, half, builder.const(1, I32))))
        found.append(builder.binary(BinOp.AND, a, builder.const(0xFFFF_FFFF)))
        found.append(builder.binary(BinOp.AND, a, builder.const(0xF0F0_F0F0)))
        found.append(builder.binary(BinOp.AND, a, builder.const(0xFF00_0000_0000)))
        found.append(builder.zext(8, builder.binary(BinOp.LSHR, a, builder.const(56))))
        return found

    def body(builder: Builder, packet: Value) -> None:
        for number, result in enumerate(results(builder, packet)):
            builder.store(packet, RESULTS + 8 * number, 8, widen(builder, result))

    def expected(a: int) -> list[int | None]:
        m32, m64 = (1 << 32) - 1, (1 << 64) - 1
        found: list[int | None] = []
        for bits in (1, 8, 16, 32):
            found += [a & (1 << bits) - 1] * 3
        for bits in (8, 16, 32):
            wide = signed(a, bits) & m64
            found += [wide, wide, wide & m32]
        found += [-a & m64, -a & m32]
        found += [swap(a, 16), swap(a, 32), swap(a, 64), swap(a, 16), swap(a, 32)]
        found += [a + 1 & m32, a & m32, a & 0xF0F0_F0F0, a & 0xFF00_0000_0000, a >> 56]
        return found

    check(body, len(expected(0)), level, [(a, 0, expected(a)) for a in CORNERS_64])


@pytest.mark.parametrize("level", LEVELS)
def test_loads_and_stores(level: Isa) -> None:
    """Every width from and to the packet and the stack, with and without sign, and stored constants."""
    places = [(width, signed_) for width in (1, 2, 4, 8) for signed_ in (False, True)]

    def body(builder: Builder, packet: Value) -> None:
        frame = builder.alloca(32, 8, "frame")
        builder.memzero(frame, 0, 32, 8)
        builder.store(frame, 8, 8, builder.load(packet, A, 8))
        at = RESULTS
        for source, base in ((packet, 0), (frame, 8)):
            for width, signed_ in places:
                for type_ in (I64, I32):
                    if width == 8 and type_ == I32:
                        continue
                    value = builder.load(source, base, width, signed=signed_, type=type_)
                    builder.store(packet, at, 8, widen(builder, value))
                    at += 8
        for width in (1, 2, 4, 8):
            for constant in (0, 0x7F, 0x80, 0xFFFF_FFFF, 0x8000_0000, (1 << 64) - 1, 0x1234_5678_9ABC):
                builder.memzero(frame, 16, 8, 8)
                builder.store(frame, 16, width, builder.const(constant))
                builder.store(packet, at, 8, builder.load(frame, 16, 8))
                at += 8

    def expected(a: int) -> list[int | None]:
        found: list[int | None] = []
        for _ in range(2):
            for width, signed_ in places:
                for bits in (64, 32):
                    if width == 8 and bits == 32:
                        continue
                    value = signed(a, width * 8) if signed_ else a & (1 << width * 8) - 1
                    found.append(value & (1 << bits) - 1)
        for width in (1, 2, 4, 8):
            for constant in (0, 0x7F, 0x80, 0xFFFF_FFFF, 0x8000_0000, (1 << 64) - 1, 0x1234_5678_9ABC):
                found.append(constant & (1 << width * 8) - 1)
        return found

    check(body, len(expected(0)), level, [(a, 0, expected(a)) for a in CORNERS_64])


@pytest.mark.parametrize("level", LEVELS)
def test_truth_values(level: Isa) -> None:
    """i1 as a number: stored, negated, combined, passed through phis, branched on."""

    def body(builder: Builder, packet: Value) -> None:
        a, b = builder.load(packet, A, 8), builder.load(packet, B, 8)
        less, even = (
            builder.cmp(Pred.ULT, a, b),
            builder.cmp(Pred.EQ, builder.binary(BinOp.AND, a, builder.const(1)), builder.const(0)),
        )
        top = builder.cmp(Pred.SLT, a, builder.const(0))
        bit = builder.cmp(Pred.TEST, b, builder.const(1 << 40))
        found: list[Value] = [less, even, top, bit]
        found += [builder.binary(op, less, even) for op in (BinOp.AND, BinOp.OR, BinOp.XOR)]
        found.append(builder.logical_not(top))
        yes, no, join = (builder.new_block(n) for n in ("yes", "no", "join"))
        builder.branch(builder.logical_not(less), yes, no)
        builder.block = yes
        builder.jump(join)
        builder.block = no
        builder.jump(join)
        builder.block = join
        chosen = builder.phi(I1, {yes: even, no: top})
        found.append(chosen)
        for number, value in enumerate(found):
            builder.store(packet, RESULTS + 8 * number, 8, builder.zext(1, value))
        then, after = builder.new_block("then"), builder.new_block("after")
        builder.store(packet, RESULTS + 8 * len(found), 8, builder.const(0))
        builder.branch(chosen, then, after)
        builder.block = then
        builder.store(packet, RESULTS + 8 * len(found), 8, builder.const(1))
        builder.jump(after)
        builder.block = after

    def expected(a: int, b: int) -> list[int | None]:
        less, even, top, bit = a < b, not a & 1, a >> 63 == 1, bool(b >> 40 & 1)
        chosen = top if less else even
        found = [less, even, top, bit, less & even, less | even, less ^ even, not top, chosen, chosen]
        return [int(f) for f in found]

    pairs = itertools.product(CORNERS_64, (*CORNERS_64, 1 << 40, 1 << 41))
    check(body, 10, level, [(a, b, expected(a, b)) for a, b in pairs])
