"""The arguments of USDT probes. A probe may be in many places of a program, with its arguments elsewhere each time, so that the
loader says where they are: by a record for each place (``pyebpf.uapi.usdt``)."""

from __future__ import annotations

from pyebpf.frontend import tree
from pyebpf.frontend.build_state import State
from pyebpf.frontend.tree_nodes import nodes
from pyebpf.ir.ops import BinOp, Pred, Value
from pyebpf.ir.types import I64, PtrTy, Space
from pyebpf.layout import U32, U64, StructType
from pyebpf.object import MapSpec
from pyebpf.uapi import usdt
from pyebpf.uapi.constants import MapType
from pyebpf.uapi.usdt import ARGUMENT, RECORD, Location


def _declare_maps(f: State) -> None:
    maps = f.data.module.maps
    if usdt.RECORDS not in maps:
        maps[usdt.RECORDS] = MapSpec(
            usdt.RECORDS, MapType.ARRAY, 4, RECORD.size, usdt.MAX_RECORDS, key=U32, value=RECORD
        )
        # Never looked at: there have been cookies for as long as programs of this kind are compiled for.
        maps[usdt.ADDRESSES] = MapSpec(usdt.ADDRESSES, MapType.HASH, 8, 4, 1, key=U64, value=U32)


def arguments_read(function: tree.Function) -> tuple[int, ...]:
    """The numbers of the arguments that a program reads."""
    return tuple(sorted({n.index for n in nodes(function.body) if isinstance(n, tree.UsdtArgument)}))


def record(f: State, node: tree.UsdtRecord) -> Value:
    """The record of the place that the program runs at, if it has all that is read of it."""
    _declare_maps(f)
    key = f.temporary("key", 4)
    f.b.store(key.pointer, key.offset, 4, f.helper("get_attach_cookie", f.value(node.context)))
    kind = PtrTy(Space.MAP_VALUE, RECORD.size, nullable=True)
    found = f.helper("map_lookup_elem", f.b.map_ref(usdt.RECORDS), f.pointer(key), type=kind)
    f.fail_if(f.b.cmp(Pred.EQ, found, f.b.null(kind)), tree.Exc.KEY)
    held = f.b.nonnull(found)
    read = arguments_read(f.source)
    if read:
        # A record that nobody has written has no arguments.
        there = _load(f, held, RECORD, "arg_cnt")
        f.fail_if(f.b.cmp(Pred.ULE, there, f.b.const(read[-1])), tree.Exc.KEY)
    return held


def cookie(f: State, node: tree.UsdtCookie) -> Value:
    """The user's cookie."""
    return _load(f, f.value(node.record), RECORD, "usdt_cookie")


def argument(f: State, node: tree.UsdtArgument) -> Value:
    """One argument: a constant, in a register, or in memory; then its low bytes, with or without sign."""
    held = f.value(node.record)
    registers = f.b.address_in(f.value(node.context), 0)

    def field(name: str) -> Value:
        return _load(f, held, ARGUMENT, name, node.index * ARGUMENT.size)

    where = field("arg_type")
    unused = f.b.binary(BinOp.AND, field("arg_bitshift"), f.b.const(63))
    names = "register", "behind", "indexed", "memory", "argument", "signed", "unsigned", "extended"
    register, behind, indexed, memory, done, signed, unsigned, extended = map(f.b.new_block, names)
    constant = field("val_off")
    at_constant = f.b.block
    f.b.branch(f.b.cmp(Pred.EQ, where, f.b.const(Location.CONSTANT)), done, register)

    f.go(register)
    base = _copied(f, "kernel", f.b.binary(BinOp.ADD, registers, field("reg_off")), f.b.const(8))
    at_register = f.b.block
    f.b.branch(f.b.cmp(Pred.EQ, where, f.b.const(Location.REGISTER)), done, behind)

    f.go(behind)
    address = f.b.binary(BinOp.ADD, base, constant)
    at_behind = f.b.block
    f.b.branch(f.b.cmp(Pred.EQ, where, f.b.const(Location.INDEXED)), indexed, memory)

    f.go(indexed)
    packed = field("idx_reg")
    offset = f.b.binary(BinOp.AND, packed, f.b.const((1 << usdt.SCALE_SHIFT) - 1))
    index = _copied(f, "kernel", f.b.binary(BinOp.ADD, registers, offset), f.b.const(8))
    scale = f.b.binary(BinOp.LSHR, packed, f.b.const(usdt.SCALE_SHIFT))
    further = f.b.binary(BinOp.ADD, address, f.b.binary(BinOp.SHL, index, scale))
    at_indexed = f.b.block
    f.b.jump(memory)

    f.go(memory)
    # No more than the argument: what is behind it may be another page.
    size = f.b.binary(BinOp.SUB, f.b.const(8), f.b.binary(BinOp.LSHR, unused, f.b.const(3)))
    found = _copied(f, "user", f.b.phi(I64, {at_behind: address, at_indexed: further}), size)
    at_memory = f.b.block
    f.b.jump(done)

    f.go(done)
    raw = f.b.phi(I64, {at_constant: constant, at_register: base, at_memory: found})
    high = f.b.binary(BinOp.SHL, raw, unused)
    f.b.branch(f.b.cmp(Pred.NE, field("arg_signed"), f.b.const(0)), signed, unsigned)
    f.go(signed)
    with_sign = f.b.binary(BinOp.ASHR, high, unused)
    f.b.jump(extended)
    f.go(unsigned)
    without = f.b.binary(BinOp.LSHR, high, unused)
    f.b.jump(extended)
    f.go(extended)
    return f.b.phi(I64, {signed: with_sign, unsigned: without})


def _load(f: State, held: Value, struct: StructType, name: str, start: int = 0) -> Value:
    field = struct.field(name)
    assert field is not None
    return f.b.load(held, start + field.offset, field.layout.size)


def _copied(f: State, memory: str, where: Value, size: Value) -> Value:
    """Up to eight bytes of the kernel's or of a user's memory, zeros where they cannot be read; little-endian."""
    slot = f.temporary("probed", 8)
    f.b.store(slot.pointer, slot.offset, 8, f.b.const(0))
    f.helper(f"probe_read_{memory}", f.pointer(slot), size, where)
    return f.b.load(slot.pointer, slot.offset, 8)
