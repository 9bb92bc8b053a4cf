"""References: making objects, going to fields and elements, comparing and measuring byte strings, copying."""

from __future__ import annotations

from collections.abc import Callable

from pyebpf.frontend import build_memory as memory
from pyebpf.frontend import tree
from pyebpf.frontend.build_arith import element_offset
from pyebpf.frontend.build_facts import may_be_part
from pyebpf.frontend.build_state import Number, Place, State
from pyebpf.frontend.types import Origin, Ref
from pyebpf.ir.ops import BinOp, Block, Pred, Value
from pyebpf.ir.types import I64, Space
from pyebpf.layout import ArrayType, BytesType, IntType, Layout, StructType

UNROLLED_LENGTH = 8
"""``len`` of a byte string up to this capacity is unrolled."""

IN_MAPS = frozenset({Space.STACK, Space.MAP_VALUE, Space.GLOBAL, Space.PACKET})
"""Memory that map helpers take as a key or value on every kernel."""


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


# ---------------------------------------------------------------- filling


def fill(f: State, place: Place, layout: Layout, value: tree.Expr, *, zeroed: bool = False) -> None:
    """Write ``value``, an Int or a reference, to ``place``. Shorter bytes are zero-filled; ``zeroed`` tells
    that the place holds zeros already."""
    if isinstance(value.type, Ref):
        with f.at(value.span):
            copy_from(f, place, layout.size, value, zeroed=zeroed)
    elif isinstance(layout, IntType):
        held = f.widen(f.value(value))
        memory.store_int(f, place, layout, held)
    else:
        raise f.bug(f"a value of type {value.type} for {layout.name}", value.span)


def copy_from(f: State, place: Place, size: int, source: tree.Expr, *, zeroed: bool = False) -> None:
    """Copy what ``source`` refers to over ``size`` bytes at ``place``; what it does not have is zero."""
    given = min(layout_of(source, f).size, size)
    if isinstance(source, tree.ConstData) and size <= memory.IMMEDIATE_LIMIT:
        memory.store_constant(f, place, source.data[:given].ljust(size, b"\0"), zeroed=zeroed)
        return
    if isinstance(source, tree.NewStruct | tree.NewArray) and given == size:
        write_new(f, place, source, zeroed=zeroed)
        return
    memory.copy(f, place, f.place(source), given)
    if given < size and not zeroed:
        memory.zero(f, place.at(given), size - given)


def write_new(f: State, place: Place, node: tree.NewStruct | tree.NewArray, *, zeroed: bool = False) -> None:
    """Make the object that ``node`` describes at ``place``, which nothing in ``node`` may refer to."""
    match node:
        case tree.NewStruct(struct=struct, values=values):
            if not zeroed and not _covered(struct, values):
                memory.zero(f, place, struct.size)
                zeroed = True
            for field, value in values:
                fill(f, place.at(field.offset), field.layout, value, zeroed=zeroed and not struct.union)
        case tree.NewArray(layout=layout, items=items):
            element, length = element_of(layout, f)
            if not zeroed and len(items) < length:
                memory.zero(f, place, layout.size)
                zeroed = True
            for index, item in enumerate(items):
                fill(f, place.at(index * element.size), element, item, zeroed=zeroed)


def _covered(struct: StructType, values: tuple[tuple[object, tree.Expr], ...]) -> bool:
    """Whether storing ``values`` writes every byte of ``struct``: no field left out and no padding."""
    if struct.union or len(values) != len({id(field) for field, _ in values}):
        return False
    given = {field for field, _ in values}
    return given == set(struct.fields) and sum(field.layout.size for field in struct.fields) == struct.size


def new_object(f: State, node: tree.NewStruct | tree.NewArray) -> Place:
    """A new object in the node's slot. Nothing refers any more to what the node made there before: the
    language has no aliases that outlive the iteration."""
    layout = node.type.layout
    place = f.slot(node, "object", layout.size, node.label)
    write_new(f, place, node)
    return place


def copy_of(f: State, node: tree.CopyOf) -> Place:
    """A new object with the contents of another one."""
    size = node.type.layout.size
    place = f.slot(node, "object", size, node.label)
    copy_from(f, place, size, node.source)
    return place


def copy_into(f: State, node: tree.CopyInto) -> None:
    """``target[:] = source``. What may overlap goes through a temporary."""
    size = layout_of(node.target, f).size
    target = f.place(node.target)
    if isinstance(node.source, tree.NewStruct | tree.NewArray):
        # The parts of the new object may refer to the target: make it apart.
        memory.copy(f, target, new_object(f, node.source), size)
        return
    if not _may_overlap(f, node.target, node.source):
        copy_from(f, target, size, node.source)
        return
    given = min(layout_of(node.source, f).size, size)
    buffer = f.slot(node, "overlap", given, "overlap")
    memory.copy(f, buffer, f.place(node.source), given)
    memory.copy(f, target, buffer, given)
    if given < size:
        memory.zero(f, target.at(given), size - given)


def _may_overlap(f: State, target: tree.Expr, source: tree.Expr) -> bool:
    """Whether two references may be to different, overlapping bytes."""
    assert isinstance(target.type, Ref) and isinstance(source.type, Ref)
    if isinstance(source, tree.ConstData | tree.CopyOf | tree.PacketCopy | tree.MapPop):
        return False
    stack = {Origin.LOCAL, Origin.CALLER}
    origins = {target.type.origin, source.type.origin}
    if len(origins) == 2 and origins != stack:
        return False
    return any(may_be_part(expr, f.facts.parts) for expr in (target, source))


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
    """``index`` counted from the end where negative; raises INDEX where it is outside 0 … length-1."""
    value = index.value
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
    f: State, value: tree.Expr, layout: Layout, temporary: Callable[[int], Place]
) -> Callable[[], Value]:
    """Evaluate ``value``, which is to be passed to a helper as memory of ``layout``: a reference that has it,
    as it is, anything else through ``temporary(size)``. The temporary is written when the result is called,
    so that several arguments can be evaluated first."""
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
        if given >= layout.size and source.pointer_type.space in IN_MAPS:
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
