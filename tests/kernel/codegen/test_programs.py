"""What is not arithmetic, on the kernel: calls, callbacks, maps, globals, memory blocks, long jumps."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from pyebpf import layout
from pyebpf.ir import ops
from pyebpf.ir.builder import Builder
from pyebpf.ir.ops import AtomicOp, BinOp, FunctionRole, Module, Pred, Value
from pyebpf.ir.types import I1, I32, I64, VOID, IntTy, PtrTy, Space
from pyebpf.object import DataSection, MapSpec, Variable
from pyebpf.target import Isa
from pyebpf.uapi.constants import MapType
from tests.kernel.codegen.harness import Body, loaded, packet_module, subprogram

LEVELS = list(Isa)
MAP_LOOKUP, MAP_UPDATE, LOOP = 1, 2, 181


def run(module: Module, level: Isa, *words: int, size: int, check: bool = True) -> tuple[int, ...]:
    """The packet, as 64-bit words, after a run on ``words`` and zeros."""
    packet = struct.pack(f"<{len(words)}Q", *words).ljust(size, b"\0")
    with loaded(module, level, check=check) as program:
        verdict, after = program.run(packet)
    assert verdict == 2
    return struct.unpack(f"<{size // 8}Q", after)


@pytest.mark.parametrize("level", LEVELS)
def test_subprograms(level: Isa) -> None:
    """Five parameters of all widths; a narrow value arrives as it was sent, whatever is above it."""

    def body(builder: Builder, packet: Value) -> None:
        a, b = builder.load(packet, 0, 8), builder.load(packet, 8, 8)
        half = builder.trunc(a)
        less = builder.cmp(Pred.ULT, a, b)
        wide = builder.call("five", a, half, less, b, a)
        narrow = builder.call("narrow", half, type=I32)
        truth = builder.call("truth", a, type=I1)
        nothing = builder.call("nothing", packet)
        nothing.type = VOID
        builder.store(packet, 24, 8, wide)
        builder.store(packet, 32, 8, builder.zext(32, narrow))
        builder.store(packet, 40, 8, builder.zext(1, truth))
        builder.store(packet, 48, 8, a)

    module = packet_module(body, 64)
    five, (a, b, c, d, e) = subprogram(
        "five", [("a", I64), ("b", I32), ("c", I1), ("d", I64), ("e", I64)], I64
    )
    total = five.binary(BinOp.ADD, a, five.zext(32, b))
    total = five.binary(BinOp.ADD, total, five.zext(1, c))
    total = five.binary(BinOp.XOR, total, five.binary(BinOp.MUL, d, e))
    five.ret(total)
    narrow, (n,) = subprogram("narrow", [("n", I32)], I32)
    narrow.ret(narrow.binary(BinOp.MUL, n, narrow.const(0x8000_0001, I32)))
    truth, (t,) = subprogram("truth", [("t", I64)], I1)
    truth.ret(truth.cmp(Pred.UGT, t, truth.const(1 << 33)))
    nothing, (p,) = subprogram("nothing", [("p", PtrTy(Space.PACKET))], VOID)
    nothing.store(p, 16, 8, nothing.const(77))
    nothing.ret()
    module.functions |= {f.function.name: f.function for f in (five, narrow, truth, nothing)}
    x, y = 0xFFFF_FFFF_8000_0003, (1 << 64) - 2
    got = run(module, level, x, y, size=64)
    mask = (1 << 64) - 1
    assert got[2] == 77
    assert got[3] == (x + (x & 0xFFFF_FFFF) + 1 & mask) ^ (x * y & mask)
    assert got[4] == (x & 0xFFFF_FFFF) * 0x8000_0001 & 0xFFFF_FFFF
    assert got[5:7] == (1, x)


@pytest.mark.parametrize("level", LEVELS)
def test_callback(level: Isa) -> None:
    """``bpf_loop``: the address of a function, a state in the frame, and what lives across the call."""

    def body(builder: Builder, packet: Value) -> None:
        state = builder.alloca(16, 8, "state")
        builder.store(state, 0, 8, builder.load(packet, 0, 8))
        builder.store(state, 8, 8, builder.const(0))
        kept = builder.load(packet, 8, 8)
        rounds = builder.helper(LOOP, builder.const(10), builder.func_ref("step"), state, builder.const(0))
        builder.store(packet, 16, 8, builder.load(state, 0, 8))
        builder.store(packet, 24, 8, builder.load(state, 8, 8))
        builder.store(packet, 32, 8, rounds)
        builder.store(packet, 40, 8, kept)

    module = packet_module(body, 48)
    step, (i, state) = subprogram(
        "step", [("i", I64), ("state", PtrTy(Space.STACK, 16))], I64, FunctionRole.CALLBACK
    )
    step.store(state, 0, 8, step.binary(BinOp.ADD, step.load(state, 0, 8), step.const(3)))
    step.store(state, 8, 8, step.binary(BinOp.ADD, step.load(state, 8, 8), i))
    step.ret(step.zext(1, step.cmp(Pred.EQ, i, step.const(6))))
    module.functions["step"] = step.function
    got = run(module, level, 100, 0xABCDEF, size=48)
    assert got[2:6] == (121, 21, 7, 0xABCDEF)


def data_sections() -> dict[str, DataSection]:
    """Variables in every kind of section."""
    bss = DataSection(
        ".bss",
        bytearray(24),
        [Variable("hits", 0, 8, layout=layout.U64), Variable("last", 8, 8), Variable("low", 16, 4)],
    )
    data = DataSection(".data", bytearray(struct.pack("<QQ", 5, 1 << 40)), [Variable("five", 0, 8)])
    data.variables.append(Variable("big", 8, 8, layout=layout.U64))
    rodata = DataSection(".rodata", bytearray(struct.pack("<II", 7, 0xFFFF_FFFF)))
    rodata.variables += [Variable("seven", 0, 4), Variable("ones", 4, 4)]
    return {s.name: s for s in (bss, data, rodata)}


@pytest.mark.parametrize("level", LEVELS)
def test_globals(level: Isa) -> None:
    """Reads, writes and atomics on variables, also in a block that another variable's address reaches."""

    def body(builder: Builder, packet: Value) -> None:
        refs = {
            v.name: builder.global_ref(s.name, v.name, v.size)
            for s in data_sections().values()
            for v in s.variables
        }
        a = builder.load(packet, 0, 8)
        builder.atomic(AtomicOp.ADD, refs["hits"], 0, 8, a)
        builder.store(refs["last"], 0, 8, a)
        builder.atomic(AtomicOp.OR, refs["low"], 0, 4, builder.const(0xF0, I32))
        yes, after = builder.new_block("yes"), builder.new_block("after")
        builder.branch(builder.cmp(Pred.UGT, a, builder.const(10)), yes, after)
        builder.block = yes
        builder.store(refs["big"], 0, 8, builder.load(refs["five"], 0, 8))
        builder.jump(after)
        builder.block = after
        seven = builder.load(refs["seven"], 0, 4)
        ones = builder.load(refs["ones"], 0, 4, signed=True)
        builder.store(packet, 8, 8, builder.binary(BinOp.ADD, seven, ones))

    module = packet_module(body, 16)
    module.data = data_sections()
    with loaded(module, level) as program:
        for word in (3, 40):
            _, after = program.run(struct.pack("<QQ", word, 0))
            assert struct.unpack("<QQ", after) == (word, 6)
        assert struct.unpack("<QQII", program.value(".bss")) == (43, 40, 0xF0, 0)
        assert struct.unpack("<QQ", program.value(".data")) == (5, 5)


@pytest.mark.parametrize("level", LEVELS)
def test_map_lookup(level: Isa) -> None:
    """A key in the frame, a value checked for null, an update."""

    def body(builder: Builder, packet: Value) -> None:
        key = builder.alloca(4, 4, "key")
        builder.store(key, 0, 4, builder.load(packet, 0, 4))
        where = PtrTy(Space.MAP_VALUE, 8, nullable=True)
        for at in (8, 16):
            found = builder.helper(MAP_LOOKUP, builder.map_ref("counts"), key, type=where)
            none, some, join = (builder.new_block(n) for n in ("none", "some", "join"))
            builder.branch(builder.cmp(Pred.EQ, found, builder.null(where)), none, some, unlikely=True)
            builder.block = none
            value = builder.alloca(8, 8, "value")
            builder.store(value, 0, 8, builder.const(1))
            created = builder.helper(MAP_UPDATE, builder.map_ref("counts"), key, value, builder.const(0))
            builder.jump(join)
            builder.block = some
            pointer = builder.nonnull(found)
            builder.atomic(AtomicOp.ADD, pointer, 0, 8, builder.const(41))
            seen = builder.load(pointer, 0, 8)
            builder.jump(join)
            builder.block = join
            builder.store(packet, at, 8, builder.phi(I64, {none: created, some: seen}))

    module = packet_module(body, 24)
    module.maps["counts"] = MapSpec("counts", MapType.HASH, 4, 8, 8)
    assert run(module, level, 9, size=24)[1:] == (0, 42)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("align", [1, 2, 4, 8])
def test_memory_blocks(level: Isa, align: int) -> None:
    """``MemZero`` and ``MemCopy`` of a size that is no multiple of the width."""
    size = 23

    def body(builder: Builder, packet: Value) -> None:
        frame = builder.alloca(48, 8, "buffer")
        builder.memzero(frame, 0, 48, 8)
        builder.memcopy(frame, 8, packet, 0, size, align)
        builder.memzero(frame, 16, 3, align)
        builder.memcopy(packet, 32, frame, 0, 40, align)
        builder.memcopy(packet, 0, packet, 0, size, align)

    module = packet_module(body, 80)
    given = bytes(range(1, 81))
    with loaded(module, level) as program:
        _, after = program.run(given)
    frame = bytearray(48)
    frame[8 : 8 + size] = given[:size]
    frame[16:19] = bytes(3)
    assert after == given[:32] + bytes(frame[:40]) + given[72:]


def far_module(padding: int) -> Module:
    """A loop whose body has about ``padding`` instructions, with jumps over all of them in both
    directions."""

    def body(builder: Builder, packet: Value) -> None:
        before, zero = builder.block, builder.const(0)
        head, work, skip, latch, after = (
            builder.new_block(n) for n in ("head", "work", "skip", "latch", "after")
        )
        builder.jump(head)
        builder.block = head
        i = builder.phi(I64, {before: zero})
        builder.emit(ops.CompareBranch(Pred.ULT, i, builder.const(3), work, after))
        builder.block = work
        # Taken in the second round, over everything.
        builder.emit(ops.CompareBranch(Pred.TEST, i, builder.const(1), latch, skip))
        builder.block = skip
        value: Value = builder.load(packet, 0, 8)
        for _ in range(padding // 3):
            value = builder.binary(BinOp.XOR, value, builder.const(0x55))
            value = builder.binary(BinOp.ADD, value, i)
            value = builder.binary(BinOp.MUL, value, builder.const(5))
        builder.store(packet, 0, 8, value)
        builder.jump(latch)
        builder.block = latch
        i.incoming[latch] = builder.binary(BinOp.ADD, i, builder.const(1))
        builder.jump(head)
        builder.block = after
        builder.store(packet, 8, 8, i)

    return packet_module(body, 16)


def padded(word: int, padding: int) -> Iterator[int]:
    for i in (0, 2):
        for _ in range(padding // 3):
            word = ((word ^ 0x55) + i) * 5 & (1 << 64) - 1
        yield word


@pytest.mark.parametrize(("level", "padding"), [(Isa.V3, 30), (Isa.V3, 33_000), (Isa.V4, 33_000)])
def test_long_jumps(level: Isa, padding: int) -> None:
    *_, expected = padded(123, padding)
    got = run(far_module(padding), level, 123, size=16, check=False)
    assert got == (expected, 3)


@pytest.mark.parametrize("level", LEVELS)
def test_switch_of_many_results(level: Isa) -> None:
    """Merged exits: many paths with equal and with different results."""

    def body(builder: Builder, packet: Value) -> None:
        key = builder.load(packet, 0, 1)
        join = builder.new_block("join")
        incoming: dict[ops.Block, Value] = {}
        for number in range(12):
            hit, miss = builder.new_block("hit"), builder.new_block("miss")
            builder.emit(ops.CompareBranch(Pred.EQ, key, builder.const(number), hit, miss))
            builder.block = hit
            incoming[hit] = builder.const(number % 3 + 100)
            builder.jump(join)
            builder.block = miss
        incoming[builder.block] = builder.const(0)
        builder.jump(join)
        builder.block = join
        builder.store(packet, 8, 8, builder.phi(I64, incoming))

    with loaded(packet_module(body, 16), level) as program:
        for number in range(14):
            _, after = program.run(struct.pack("<QQ", number, 0))
            assert struct.unpack("<QQ", after)[1] == (number % 3 + 100 if number < 12 else 0)
        assert len(program.spec.programs["main"].code) // 8 < 40


def test_packet_checked_register_is_used() -> None:
    """A bounds check on the low half of a 64-bit value, then its zero-extension as an index."""

    def body_for(type_: IntTy) -> Body:
        def body(builder: Builder, packet: Value) -> None:
            table = builder.alloca(16, 8, "table")
            builder.memzero(table, 0, 16, 8)
            builder.store(table, 8, 8, builder.const(0x0807060504030201))
            word: Value = builder.load(packet, 0, 8)
            index = builder.trunc(word) if type_ == I32 else word
            inside, after = builder.new_block("inside"), builder.new_block("after")
            limit = builder.const(16, type_)
            builder.emit(ops.CompareBranch(Pred.ULT, index, limit, inside, after))
            builder.block = inside
            wide = builder.zext(32, index) if type_ == I32 else index
            builder.store(packet, 8, 8, builder.load(builder.ptradd(table, wide), 0, 1))
            builder.jump(after)
            builder.block = after

        return body

    for level in LEVELS:
        for type_ in (I32, I64):
            got = run(packet_module(body_for(type_), 16), level, 10, size=16)
            assert got[1] == 3, (level, type_)
