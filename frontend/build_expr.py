"""Expressions: the dispatcher over all of them, values, conditions, and the short-circuit operators."""

from __future__ import annotations

from pyebpf.frontend import (
    build_arith,
    build_calls,
    build_kernel,
    build_maps,
    build_memory,
    build_objects,
    build_packet,
    build_refs,
    build_usdt,
    tree,
)
from pyebpf.frontend.build_data import variable_align
from pyebpf.frontend.build_state import Number, Operand, Place, State
from pyebpf.frontend.types import Bool, Int
from pyebpf.hints import assert_never
from pyebpf.ir.ops import BinOp, Block, Cmp, Pred, Value
from pyebpf.ir.types import I1, PtrTy
from pyebpf.layout import IntType


def expression(f: State, node: tree.Expr) -> Operand:
    """Lower one expression."""
    match node:
        # values
        case tree.IntConst():
            return f.b.const(node.value, I1) if isinstance(node.type, Bool) else f.b.const(node.value)
        case tree.NullConst():
            return f.b.null(f.pointer_type(node.type))
        case tree.GetLocal():
            return _get_local(f, node)
        case tree.Bind():
            value = f.value(node.value)
            f.store_local(node.local, value)
            return value
        case tree.Arith():
            left = f.number(node.left)
            right = f.number(node.right)
            return build_arith.arith(f, node.op, left, right, may_be_zero=node.may_be_zero)
        case tree.Negate():
            return f.b.neg(f.value(node.operand))
        case tree.Invert():
            return f.b.binary(BinOp.XOR, f.value(node.operand), f.b.const(-1))
        case tree.Compare() | tree.IsNone() | tree.Truth() | tree.Not():
            return condition(f, node, negate=False)
        case tree.Logic() | tree.EqualBytes():
            return _decided(f, node)
        case tree.Conditional():
            return _conditional(f, node)
        case tree.ToInt():
            return f.b.zext(1, f.value(node.operand))
        case tree.Reinterpret():
            return f.value(node.operand)
        case tree.Wrap():
            return build_arith.wrap(f, node.layout.bits, node.layout.signed, f.number(node.operand))
        case tree.SwapBytes():
            return build_arith.swap(f, node.bits, f.value(node.operand))
        case tree.Log2():
            return build_arith.log2(f, f.value(node.operand))
        # references
        case tree.ConstData():
            layout = node.type.layout
            data = node.data[: layout.size].ljust(layout.size, b"\0")
            return Place(f.data.constant_ref(data, layout, node.label, f.b), 0, 8)
        case tree.NewStruct() | tree.NewArray():
            return build_objects.new_object(f, node)
        case tree.CopyOf():
            return build_objects.copy_of(f, node)
        case tree.FieldOf():
            return f.place(node.base).at(node.field.offset)
        case tree.ElementOf():
            return build_refs.element_place(f, node)
        case tree.SliceOf():
            return build_refs.slice_place(f, node)
        case tree.Read():
            layout = build_refs.layout_of(node.ref, f)
            assert isinstance(layout, IntType)
            return build_memory.load_int(f, _to_read(f, node.ref), layout, _hint(node.ref))
        case tree.GlobalVar():
            return Place(f.data.global_ref(node.decl, f.b), 0, variable_align(node.decl.layout))
        case tree.LengthOfBytes():
            return build_refs.length_of_bytes(f, node)
        # maps, packets, calls
        case tree.MapLookup():
            return build_maps.lookup(f, node)
        case tree.MapUpdate():
            return build_maps.update(f, node)
        case tree.MapDelete():
            return build_maps.delete(f, node)
        case tree.MapPush():
            return build_maps.push(f, node)
        case tree.MapPop():
            return build_maps.pop(f, node)
        case tree.RingOutput():
            return build_maps.ring_output(f, node)
        case tree.ContextField():
            return build_packet.context_field(f, node)
        case tree.EventData():
            return build_packet.event_data(f, node)
        case tree.PacketLength():
            return build_packet.packet_length(f, node)
        case tree.PacketView():
            return build_packet.packet_view(f, node)
        case tree.PacketCopy():
            return build_packet.packet_copy(f, node)
        case tree.PacketStore():
            build_packet.packet_store(f, node)
            return None
        case tree.AddressAs():
            return build_kernel.address_as(f, node)
        case tree.KernelMember():
            return build_kernel.member(f, node)
        case tree.KernelElement():
            return build_kernel.element(f, node)
        case tree.KernelRead():
            return build_kernel.read(f, node)
        case tree.FarCopy():
            return build_kernel.far_copy(f, node)
        case tree.UserRead():
            return build_kernel.user_read(f, node)
        case tree.UserMember():
            return build_kernel.user_member(f, node)
        case tree.CoreFact():
            return build_kernel.core_fact(f, node)
        case tree.KernelSetting():
            return build_kernel.setting(f, node)
        case tree.SyscallRegisters():
            return build_kernel.syscall_registers(f, node)
        case tree.SyscallArgument():
            return build_kernel.syscall_argument(f, node)
        case tree.UsdtRecord():
            return build_usdt.record(f, node)
        case tree.UsdtArgument():
            return build_usdt.argument(f, node)
        case tree.UsdtCookie():
            return build_usdt.cookie(f, node)
        case tree.MapHandle() | tree.FunctionHandle():
            return build_calls.argument(f, node)
        case tree.HelperCall():
            return build_calls.helper_call(f, node)
        case tree.FunctionCall():
            return build_calls.function_call(f, node)
        case tree.LoopCall():
            return build_calls.loop_call(f, node)
        case tree.Print():
            return build_calls.print_(f, node)
        case _:
            assert_never(node)


def _get_local(f: State, node: tree.GetLocal) -> Operand:
    held = f.load_local(node.local, node.type)
    if node.local in f.facts.alignments and not isinstance(node.type, Int | Bool):
        return Place(held, 0, f.facts.alignments[node.local])
    return held


def _to_read(f: State, ref: tree.Expr) -> Place:
    """The place of an integer that is read once: copies of the packet need no storage of their own for that."""
    if isinstance(ref, tree.PacketCopy):
        size = ref.type.layout.size
        with f.at(ref.span):
            return build_packet.load_packet(f, ref, f.temporary("packet", size), size)
    return f.place(ref)


def _hint(ref: tree.Expr) -> str:
    """A name for a value that is read from ``ref``."""
    match ref:
        case tree.FieldOf(field=field):
            return field.name
        case tree.GlobalVar(decl=decl):
            return decl.name or ""
        case _:
            return ""


# ---------------------------------------------------------------- conditions

_INVERSE = {
    Pred.EQ: Pred.NE,
    Pred.NE: Pred.EQ,
    Pred.ULT: Pred.UGE,
    Pred.UGE: Pred.ULT,
    Pred.ULE: Pred.UGT,
    Pred.UGT: Pred.ULE,
    Pred.SLT: Pred.SGE,
    Pred.SGE: Pred.SLT,
    Pred.SLE: Pred.SGT,
    Pred.SGT: Pred.SLE,
}


def condition(f: State, node: tree.Expr, *, negate: bool) -> Value:
    """The i1 of a Bool expression, or its negation."""
    match node:
        case tree.Not(operand=operand):
            with f.at(node.span):
                return condition(f, operand, negate=not negate)
        case tree.Compare(left=left, right=right):
            with f.at(node.span):
                op = build_arith.NEGATED[node.op] if negate else node.op
                sides = (_comparable(f, left), _comparable(f, right))
                return build_arith.compare(f, op, *sides)
        case tree.IsNone(operand=operand):
            with f.at(node.span):
                pointer = f.value(operand)
                pred = Pred.EQ if node.negated is negate else Pred.NE
                if not isinstance(pointer.type, PtrTy):
                    return f.b.cmp(pred, pointer, f.b.const(0))  # an address that is a number
                return f.b.cmp(pred, pointer, f.b.null(f.pointer_type(operand.type)))
        case tree.Truth(operand=operand):
            with f.at(node.span):
                value = f.value(operand)
                return f.b.cmp(Pred.EQ if negate else Pred.NE, value, f.b.const(0))
        case _:
            value = f.value(node)
            if not negate:
                return value
            if isinstance(value, Cmp) and value.pred in _INVERSE:
                return f.b.cmp(_INVERSE[value.pred], value.left, value.right)
            return f.b.logical_not(value)


def _comparable(f: State, expr: tree.Expr) -> Number:
    if isinstance(expr.type, Bool):
        return Number(f.b.zext(1, f.value(expr)), Int(False, 0, 1))
    return f.number(expr)


def branch(f: State, test: tree.Expr, then: Block, otherwise: Block) -> None:
    """End the current block with the branch that ``test`` decides."""
    match test:
        case tree.IntConst(value=value):
            f.b.jump(then if value else otherwise)
        case tree.Not(operand=operand):
            f.branch(operand, otherwise, then)
        case tree.Logic(conjunction=conjunction, operands=operands):
            for operand in operands[:-1]:
                rest = f.b.new_block("and" if conjunction else "or")
                if conjunction:
                    f.branch(operand, rest, otherwise)
                else:
                    f.branch(operand, then, rest)
                f.go(rest)
            f.branch(operands[-1], then, otherwise)
        case tree.EqualBytes():
            build_refs.branch_equal(f, test, then, otherwise)
        case _:
            negate = otherwise in f.exits.cold and then not in f.exits.cold
            held = condition(f, test, negate=negate)
            if negate:
                then, otherwise = otherwise, then
            f.b.branch(held, then, otherwise, unlikely=then in f.exits.cold and otherwise not in f.exits.cold)


def _decided(f: State, node: tree.Expr) -> Value:
    """The i1 of an expression that is made of branches."""
    true, false, done = f.b.new_block("true"), f.b.new_block("false"), f.b.new_block("decided")
    f.branch(node, true, false)
    incoming: dict[Block, Value] = {}
    for block, value in ((true, 1), (false, 0)):
        f.go(block)
        incoming[block] = f.b.const(value, I1)
        f.b.jump(done)
    f.go(done)
    return f.b.phi(I1, incoming)


def _conditional(f: State, node: tree.Conditional) -> Value:
    then, otherwise, done = f.b.new_block("then"), f.b.new_block("else"), f.b.new_block("chosen")
    f.branch(node.test, then, otherwise)
    incoming: dict[Block, Value] = {}
    for block, arm in ((then, node.then), (otherwise, node.otherwise)):
        f.go(block)
        value = f.value(arm)
        incoming[f.b.block] = value
        f.b.jump(done)
    f.go(done)
    return f.b.phi(I1 if isinstance(node.type, Bool) else f.type_of(node.type), incoming)
