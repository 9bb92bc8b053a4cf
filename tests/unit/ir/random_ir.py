"""Random modules of the kind that the front end makes: locals in slots, structs, loops, calls, checked
pointers.

Every generated program is one that runs to its end: loops count down, divisors are odd, accesses are checked
or constant, and slots are written before they are read. So any difference between two runs is the fault of a
pass.
"""

from __future__ import annotations

import random

from pyebpf.diagnostics import Span
from pyebpf.ir import ops
from pyebpf.ir.builder import Builder
from pyebpf.ir.ops import BinOp, Block, Function, FunctionRole, Module, Param, Pred, Value
from pyebpf.ir.types import CTX, I64, VOID, PtrTy, Space
from pyebpf.object import DataSection, MapSpec, Variable
from pyebpf.uapi.constants import MapType
from pyebpf.uapi.helpers import helper_by_name
from pyebpf.uapi.programs import kind_by_name

_ARITHMETIC = list(BinOp)
_DIVISIONS = (BinOp.UDIV, BinOp.UREM, BinOp.SDIV, BinOp.SREM)
_SHIFTS = (BinOp.SHL, BinOp.LSHR, BinOp.ASHR)
_ORDERS = [p for p in Pred if p is not Pred.TEST]
_INTERESTING = (
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    255,
    256,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
)
_FIELDS = ((0, 4), (4, 2), (6, 1), (7, 1), (8, 8), (16, 8))
_RECORD = 24


def helper(name: str) -> int:
    """The number of a helper."""
    row = helper_by_name(name)
    assert row is not None
    return row.id


def random_module(seed: int, size: int = 12) -> Module:
    """A module with an XDP entry ``main``, subprograms, two maps, a global and frozen data. ``size`` scales
    bodies."""
    rng = random.Random(seed)
    module = Module(license="GPL")
    module.maps = {n: MapSpec(n, MapType.ARRAY, 4, _RECORD, 4) for n in ("first", "second")}
    module.data[".bss"] = DataSection(".bss", bytearray(16), [Variable("g", 0, 8), Variable("h", 8, 8)])
    frozen = bytearray(rng.randbytes(16))
    module.data[".rodata"] = DataSection(".rodata", frozen, [Variable("frozen", 0, 16, static=True)])
    span = Span("random.py", 1, 1, 1, 2)
    for i in range(rng.randrange(3)):
        params = [Param(n, type=I64, name=f"p{n}") for n in range(rng.randrange(1, 4))]
        if rng.random() < 0.5:
            params.append(Param(len(params), type=PtrTy(Space.STACK, _RECORD), name="record"))
        result = VOID if rng.random() < 0.2 else I64
        function = Function(f"sub{i}", params, result, [], FunctionRole.SUBPROGRAM, span)
        function.inlining = rng.choice(list(ops.Inlining))
        module.functions[function.name] = function
        _Body(rng, module, function, size // 2).build()
    main = Function(
        "main", [Param(0, type=CTX, name="ctx")], I64, [], FunctionRole.ENTRY, span, kind_by_name("xdp")
    )
    module.functions = {"main": main, **module.functions}
    _Body(rng, module, main, size).build()
    return module


class _Body:
    """Generates one function: statements that read and write a fixed set of local variables."""

    def __init__(self, rng: random.Random, module: Module, function: Function, size: int) -> None:
        self.rng = rng
        self.module = module
        self.function = function
        self.budget = size
        self.b = Builder(function, function.span)
        self.is_main = function.role is FunctionRole.ENTRY
        self.private = rng.random() < 0.5
        self.counters = 0

    def build(self) -> None:
        b, rng = self.b, self.rng
        self.locals = [b.alloca(8, 8, f"v{i}") for i in range(4)]
        self.records: list[Value] = [b.alloca(_RECORD, 8, f"r{i}") for i in range(3)]
        for record in self.records:
            b.memzero(record, 0, _RECORD, 8)
        for i, local in enumerate(self.locals):
            params: list[Value] = [p for p in self.function.params if p.type == I64]
            if self.is_main and rng.random() < 0.8:
                params = [b.load(self.function.params[0], 4 * rng.randrange(2, 6), 4)]
            b.store(local, 0, 8, params[i % len(params)] if params else self.constant())
        self.records += [p for p in self.function.params if isinstance(p.type, PtrTy) and p.type != CTX]
        while self.budget > 0:
            self.statements(3)
        if self.function.result == VOID:
            b.ret()
        else:
            b.ret(self.everything())

    def everything(self) -> Value:
        """A value that depends on all locals, most fields and a context field, so that no mistake is lost."""
        b, rng = self.b, self.rng
        total: Value = b.const(17)
        parts: list[Value] = [b.load(local) for local in self.locals]
        for record in self.records:
            parts += [
                b.load(record, *field, signed=rng.random() < 0.3) for field in _FIELDS if rng.random() < 0.8
            ]
        if self.is_main:
            parts.append(b.load(self.function.params[0], 16, 4))
        for part in parts:
            total = b.binary(BinOp.ADD, b.binary(BinOp.MUL, total, b.const(31)), part)
        return total

    def constant(self) -> Value:
        rng = self.rng
        return self.b.const(rng.choice(_INTERESTING) if rng.random() < 0.6 else rng.randrange(64))

    # ------------------------------------------------------------ expressions

    def expression(self, depth: int) -> Value:
        rng, b = self.rng, self.b
        choice = rng.randrange(16)
        if depth == 0 or choice < 4:
            if rng.random() < 0.2:
                return self.constant()
            return b.load(rng.choice(self.locals))
        if choice < 8:
            return self.arithmetic(depth)
        if choice < 11:
            offset, width = rng.choice(_FIELDS)
            return b.load(rng.choice(self.records), offset, width, signed=rng.random() < 0.3)
        if choice == 11:
            bits = rng.choice((8, 16, 32))
            make = rng.choice((b.zext, b.sext))
            return make(bits, self.expression(depth - 1))
        if choice == 12 and rng.random() < 0.5:
            return b.zext(1, self.condition(depth - 1))
        if choice == 12 and rng.random() < 0.5:
            wide = self.arithmetic(depth)
            shift = b.const(rng.choice((1, 8, 24)))
            return b.zext(rng.choice((8, 16, 32)), b.binary(rng.choice((BinOp.SHL, BinOp.LSHR)), wide, shift))
        if choice == 13:
            return b.bswap(rng.choice((16, 32, 64)), self.expression(depth - 1))
        if self.is_main and rng.random() < 0.5:
            return b.load(self.function.params[0], 4 * rng.randrange(2, 6), 4)
        name, size, offset = rng.choice((("g", 8, 0), ("h", 8, 0), ("frozen", 16, 8)))
        section = ".rodata" if name == "frozen" else ".bss"
        width, signed = rng.choice(((1, False), (2, True), (4, True), (4, False), (8, False)))
        if rng.random() < 0.4:
            back = rng.randrange(0, 8, 4)
            place = b.ptradd(b.global_ref(section, name, size), offset + back)
            return b.load(place, -back, width, signed=signed)
        return b.load(b.global_ref(section, name, size), offset, width, signed=signed)

    def arithmetic(self, depth: int) -> Value:
        rng, b = self.rng, self.b
        op = rng.choice(_ARITHMETIC)
        left, right = self.expression(depth - 1), self.expression(depth - 1)
        if op in _DIVISIONS:
            right = (
                b.binary(BinOp.OR, right, b.const(1))
                if rng.random() < 0.5
                else b.const(rng.choice((1, 2, 3, 8)))
            )
        elif op in _SHIFTS:
            right = (
                b.const(rng.randrange(64)) if rng.random() < 0.7 else b.binary(BinOp.AND, right, b.const(63))
            )
        if rng.random() < 0.05:
            return b.neg(left)
        return b.binary(op, left, right)

    def condition(self, depth: int) -> Value:
        rng, b = self.rng, self.b
        choice = rng.randrange(8)
        if choice == 0 and depth > 0:
            op = rng.choice((BinOp.AND, BinOp.OR, BinOp.XOR))
            return b.binary(op, self.condition(depth - 1), self.condition(depth - 1))
        if choice == 1 and depth > 0:
            return b.logical_not(self.condition(depth - 1))
        if choice == 2:
            masked = b.binary(BinOp.AND, self.expression(depth), self.constant())
            return b.cmp(rng.choice((Pred.EQ, Pred.NE)), masked, b.const(0))
        if choice < 6:
            # Few variables and few bounds, so that one condition often says something about another.
            small = b.zext(8, b.load(self.locals[rng.randrange(2)]))
            bound = b.const(rng.choice((0, 15, 16, 17, 255)))
            return b.cmp(rng.choice(_ORDERS), *((small, bound) if rng.random() < 0.8 else (bound, small)))
        return b.cmp(rng.choice(_ORDERS), self.expression(depth), self.expression(depth))

    # ------------------------------------------------------------ statements

    def statements(self, depth: int) -> None:
        for _ in range(self.rng.randrange(2, 6)):
            if self.budget <= 0:
                return
            self.budget -= 1
            self.statement(depth)

    def statement(self, depth: int) -> None:
        rng, b = self.rng, self.b
        choice = rng.randrange(20)
        if rng.random() < 0.1 and depth:
            self.short_circuit()
        elif choice < 4 or depth == 0:
            b.store(rng.choice(self.locals), 0, 8, self.expression(2))
        elif choice < 6:
            self.if_else(depth)
        elif choice < 8:
            self.loop(depth)
        elif choice < 11:
            offset, width = rng.choice(_FIELDS)
            b.store(rng.choice(self.records), offset, width, self.expression(2))
        elif choice < 13:
            target, source = rng.sample(self.records, 2)
            if rng.random() < 0.3:
                b.memzero(target, 0, _RECORD, 8)
            elif rng.random() < 0.5:
                b.memcopy(target, rng.choice((8, 16)), source, rng.choice((8, 16)), 8, 8)
            else:
                b.memcopy(target, 0, source, 0, _RECORD, 8)
        elif choice < 15:
            g = b.global_ref(".bss", rng.choice("gh"), 8)
            width, offset = rng.choice(((8, 0), (4, 0), (4, 4)))
            if rng.random() < 0.3:
                b.atomic(rng.choice(list(ops.AtomicOp)), g, offset, width, self.expression(1))
            else:
                b.store(g, offset, rng.choice((1, 2, width)), self.expression(1))
        elif choice == 15:
            self.call()
        elif choice == 16:
            self.lookup(depth)
        elif choice < 19 and self.is_main:
            self.packet(depth)
        else:
            self.show()

    def show(self) -> None:
        """A helper that reads a record, or writes one. Half of the functions keep two of their records
        private."""
        rng, b = self.rng, self.b
        record = self.records[0] if self.private else rng.choice(self.records)
        if self.is_main and rng.random() < 0.5:
            loads = helper("xdp_load_bytes")
            b.helper(loads, self.function.params[0], b.const(0), record, b.const(rng.choice((8, _RECORD))))
        else:
            b.helper(helper("trace_printk"), record, b.const(_RECORD), self.expression(1))

    def arm(self, block: Block, depth: int, end: Block) -> None:
        self.b.block = block
        self.statements(depth - 1)
        if self.rng.random() < 0.12 and self.function.result == I64:
            self.b.ret(self.expression(1))
        else:
            self.b.jump(end)

    def if_else(self, depth: int) -> None:
        b = self.b
        condition = self.condition(2)
        then, otherwise, end = b.new_block("then"), b.new_block("else"), b.new_block("end")
        b.branch(condition, then, otherwise, unlikely=self.rng.random() < 0.3)
        self.arm(then, depth, end)
        self.arm(otherwise, depth, end)
        b.block = end
        if not any(end in block.successors() for block in self.function.blocks if block.ops):
            b.jump(self.dead_end())
            b.block = self.function.blocks[-1]

    def short_circuit(self) -> None:
        """``flag = c1 and c2`` as the front end lowers it, and a branch on it."""
        b = self.b
        flag = b.alloca(8, 8, "flag")
        b.store(flag, 0, 8, b.zext(1, self.condition(1)))
        more, end = b.new_block("more"), b.new_block("tested")
        b.branch(
            b.cmp(Pred.NE, b.load(flag), b.const(0)),
            *((more, end) if self.rng.random() < 0.5 else (end, more)),
        )
        b.block = more
        b.store(flag, 0, 8, b.zext(1, self.condition(1)))
        b.jump(end)
        b.block = end
        yes, no, join = b.new_block("yes"), b.new_block("no"), b.new_block("join")
        b.branch(b.cmp(Pred.NE, b.load(flag), b.const(0)), yes, no)
        self.arm(yes, 1, join)
        b.block = no
        b.store(self.rng.choice(self.locals), 0, 8, self.expression(1))
        b.jump(join)
        b.block = join

    def dead_end(self) -> Block:
        """A fresh block: what follows two arms that both returned."""
        return self.b.new_block("after")

    def loop(self, depth: int) -> None:
        b = self.b
        self.counters += 1
        counter = b.alloca(8, 8, f"i{self.counters}")
        b.store(counter, 0, 8, b.const(self.rng.randrange(1, 5)))
        head, body, end = b.new_block("head"), b.new_block("body"), b.new_block("done")
        b.jump(head)
        b.block = head
        b.branch(b.cmp(Pred.NE, b.load(counter), b.const(0)), body, end)
        b.block = body
        b.store(counter, 0, 8, b.binary(BinOp.SUB, b.load(counter), b.const(1)))
        self.arm(body, depth, head)
        b.block = end

    def call(self) -> None:
        rng, b = self.rng, self.b
        subs = [f for f in self.module.functions.values() if f is not self.function]
        if not subs:
            return
        callee = rng.choice(subs)
        args = [self.expression(1) if p.type == I64 else self.records[0] for p in callee.params]
        result = b.call(callee.name, *args, type=callee.result)
        if callee.result == I64:
            b.store(rng.choice(self.locals), 0, 8, result)

    def lookup(self, depth: int) -> None:
        rng, b = self.rng, self.b
        key = b.alloca(4, 4, "key")
        slot = b.alloca(8, 8, "found")
        b.store(key, 0, 4, self.expression(1))
        where = b.map_ref(rng.choice(list(self.module.maps)))
        optional = PtrTy(Space.MAP_VALUE, _RECORD, nullable=True)
        b.store(slot, 0, 8, b.helper(helper("map_lookup_elem"), where, key, type=optional))
        absent, present, end = b.new_block("absent"), b.new_block("present"), b.new_block("end")
        test = b.cmp(Pred.EQ, b.load(slot, type=optional), b.null(optional))
        b.branch(test, absent, present, unlikely=True)
        self.arm(absent, depth, end)
        b.block = present
        value = b.nonnull(b.load(slot, type=optional))
        offset, width = rng.choice(_FIELDS)
        b.store(value, offset, width, self.expression(1))
        b.store(rng.choice(self.locals), 0, 8, b.load(value, *rng.choice(_FIELDS)))
        if rng.random() < 0.3:
            b.memcopy(rng.choice(self.records), 0, value, 0, _RECORD, 8)
        elif rng.random() < 0.3:
            b.memcopy(value, 0, rng.choice(self.records), 0, _RECORD, 8)
        b.jump(end)
        b.block = end

    def packet(self, depth: int) -> None:
        rng, b = self.rng, self.b
        context = self.function.params[0]
        if rng.random() < 0.4:
            b.helper(helper("xdp_adjust_tail"), context, b.const(0))
        data = b.load(context, 0, 4, type=PtrTy(Space.PACKET))
        end = b.load(context, 4, 4, type=PtrTy(Space.PACKET_END))
        size = rng.choice((4, 14, 20, 64))
        limit = b.ptradd(data, size)
        short, enough, after = b.new_block("short"), b.new_block("enough"), b.new_block("after")
        b.branch(b.cmp(Pred.UGT, limit, end), short, enough, unlikely=True)
        self.arm(short, 1, after)
        b.block = enough
        for _ in range(rng.randrange(1, 4)):
            width = rng.choice((1, 2, 4))
            field = b.ptradd(data, rng.choice((0, rng.randrange(size - width + 1))))
            if rng.random() < 0.4:
                b.store(field, 0, width, self.expression(1))
            b.store(rng.choice(self.locals), 0, 8, b.load(field, 0, width))
        if depth > 1:
            self.statements(depth - 1)
        b.jump(after)
        b.block = after
