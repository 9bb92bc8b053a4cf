"""References: making objects, going to fields and elements, comparing and measuring byte strings, copying."""

from __future__ import annotations

from collections.abc import Callable

from pyebpf.frontend import build_memory as memory
from pyebpf.frontend import tree
from pyebpf.frontend.build_arith import element_offset
from pyebpf.frontend.build_state import Number, Place, State
from pyebpf.frontend.types import Ref
from pyebpf.ir.ops import BinOp, Block, Pred, Value
from pyebpf.ir.types import I64, Space
from pyebpf.layout import ArrayType, BytesType, IntType, Layout

UNROLLED_LENGTH = 8
"""``len`` of a byte string up to this capacity is unrolled."""

IN_MAPS = frozenset({Space.STACK, Space.MAP_VALUE, Space.GLOBAL, Space.PACKET})
"""Memory that map helpers take as a key or value on every kernel."""
OUTSIDE_PACKET = frozenset(Space) - {Space.PACKET, Space.PACKET_META}
"""Memory that helpers take which may not look into the packet themselves."""


def layout_of(expr: tree.Expr, f: State) -> Layout:
    """The layout behind a reference."""
    if not isinstance(expr.type, Ref):
        raise f.bug(f"{type(expr).__name__} of type {expr.type} is no reference", expr.span)
    return expr.type.layout


def element_of(layout: Layout, f: State) -> tuple[Layout, int]:
    """The element's layout and the length of an array or byte string."""
    match layout:
        case ArrayType(element=element, length=length):
            return element, length
        case BytesType(length=length):
            return IntType(8, False), length
        case _:
            raise f.bug(f"{layout.name} has no elements")


# ---------------------------------------------------------------- going inside


def element_place(f: State, node: tree.ElementOf) -> Place:
    """The storage of an element. The address is computed from the very value that was compared with the
    length, so that the verifier can follow."""
    layout = layout_of(node.base, f)
    element, length = element_of(layout, f)
    base = f.place(node.base)
    index = f.number(node.index)
    constant = index.constant
    if constant is not None and -length <= constant < length:
        return base.at(constant % length * element.size)
    inside = checked_index(f, index, length) if node.checked else index.value
    return _variable_place(f, base, inside, element.size, length)


def checked_index(f: State, index: Number, length: int) -> Value:
    """``index`` counted from the end where negative; raises INDEX where it is outside 0 … length-1. Where it never is, the
    test is for the verifier."""
    value = index.value
    if index.type.exact and index.type.lo >= 0 and index.type.hi < length:
        return f.confined(value, f.b.cmp(Pred.UGE, value, f.b.const(length)), tree.Exc.INDEX)
    if not index.never_negative:
        sign = f.b.binary(BinOp.ASHR, value, f.b.const(63))
        value = f.b.binary(BinOp.ADD, value, f.b.binary(BinOp.AND, sign, f.b.const(length)))
    f.fail_if(f.b.cmp(Pred.UGE, value, f.b.const(length)), tree.Exc.INDEX)
    return value


def _variable_place(f: State, base: Place, index: Value, size: int, length: int) -> Place:
    whole = base.pointer_type.size
    reach = None if whole is None else whole - (length - 1) * size
    pointer = f.b.ptradd(base.pointer, element_offset(f, index, size), reach)
    align = base.align
    while size % align:
        align //= 2
    return Place(pointer, base.offset, align)


def slice_place(f: State, node: tree.SliceOf) -> Place:
    """The storage of a constant slice."""
    element, _ = element_of(layout_of(node.base, f), f)
    return f.place(node.base).at(node.start * element.size)


# ---------------------------------------------------------------- byte strings


def branch_equal(f: State, node: tree.EqualBytes, then: Block, otherwise: Block) -> None:
    """Go to ``then`` if the byte strings are equal."""
    left, right = (
        side.data.ljust(node.length, b"\0") if isinstance(side, tree.ConstData) else f.place(side)
        for side in (node.left, node.right)
    )
    memory.branch_equal(f, left, right, node.length, then, otherwise)


def length_of_bytes(f: State, node: tree.LengthOfBytes) -> Value:
    """The index of the first NUL, or the capacity."""
    if isinstance(node.ref, tree.ConstData):
        capacity = layout_of(node.ref, f).size
        return f.b.const(len(node.ref.data.split(b"\0")[0][:capacity]))
    place = f.place(node.ref)
    capacity = layout_of(node.ref, f).size
    done = f.b.new_block("length")
    if capacity <= UNROLLED_LENGTH:
        incoming: dict[Block, Value] = {}
        for index in range(capacity):
            length = f.b.const(index)
            byte = memory.load_bits(f, place.at(index), 1)
            rest = f.b.new_block("byte")
            incoming[f.b.block] = length
            f.b.branch(f.b.cmp(Pred.EQ, byte, f.b.const(0)), done, rest)
            f.go(rest)
        incoming[f.b.block] = f.b.const(capacity)
        f.b.jump(done)
        f.go(done)
        return f.b.phi(I64, incoming, "length")
    return _scan(f, place, capacity, done)


def _scan(f: State, place: Place, capacity: int, done: Block) -> Value:
    """``length_of_bytes`` as a loop."""
    start, (head, look, step) = f.b.block, (f.b.new_block(n) for n in ("scan", "byte", "next"))
    zero = f.b.const(0)
    f.b.jump(head)
    f.go(head)
    index = f.b.phi(I64, {start: zero}, "length")
    f.b.branch(f.b.cmp(Pred.ULT, index, f.b.const(capacity)), look, done)
    f.go(look)
    at = _variable_place(f, place, index, 1, capacity)
    f.b.branch(f.b.cmp(Pred.EQ, memory.load_bits(f, at, 1), zero), done, step)
    f.go(step)
    index.incoming[step] = f.b.binary(BinOp.ADD, index, f.b.const(1))
    f.b.jump(head)
    f.go(done)
    return index


# ---------------------------------------------------------------- arguments for helpers


def as_argument(
    f: State,
    value: tree.Expr,
    layout: Layout,
    temporary: Callable[[int], Place],
    taken: frozenset[Space] = IN_MAPS,
) -> Callable[[], Value]:
    """Evaluate ``value``, which is to be passed to a helper as memory of ``layout``: a reference that has it and is to
    a kind of memory in ``taken``, as it is, anything else through ``temporary(size)``. The temporary is written when
    the result is called, so that several arguments can be evaluated first."""
    if isinstance(value.type, Ref):
        if isinstance(value, tree.ConstData) and layout.size <= memory.IMMEDIATE_LIMIT:
            data = value.data[: layout.size].ljust(layout.size, b"\0")

            def write_constant() -> Value:
                place = temporary(layout.size)
                memory.store_constant(f, place, data)
                return f.pointer(place)

            return write_constant
        source = f.place(value)
        given = value.type.layout.size
        if given >= layout.size and source.pointer_type.space in taken:
            return lambda: f.pointer(source)

        def write_copy() -> Value:
            place = temporary(layout.size)
            memory.copy(f, place, source, min(given, layout.size))
            if given < layout.size:
                memory.zero(f, place.at(given), layout.size - given)
            return f.pointer(place)

        return write_copy
    if not isinstance(layout, IntType):
        raise f.bug(f"a value of type {value.type} for {layout.name}", value.span)
    number = f.widen(f.value(value))

    def write_int() -> Value:
        place = temporary(layout.size)
        memory.store_int(f, place, layout, number)
        return f.pointer(place)

    return write_int
