"""Objects: making structs, arrays and byte strings, and copying from one to another."""

from __future__ import annotations

from pyebpf.frontend import build_memory as memory
from pyebpf.frontend import tree
from pyebpf.frontend.build_facts import may_be_part
from pyebpf.frontend.build_packet import load_packet
from pyebpf.frontend.build_refs import element_of, layout_of
from pyebpf.frontend.build_state import Place, State
from pyebpf.frontend.types import Origin, Ref
from pyebpf.layout import IntType, Layout, StructType


def fill(f: State, place: Place, layout: Layout, value: tree.Expr, *, zeroed: bool = False) -> None:
    """Write ``value``, an Int or a reference, to ``place``. Shorter bytes are zero-filled; ``zeroed`` tells
    that the place holds zeros already."""
    if isinstance(value.type, Ref):
        with f.at(value.span):
            copy_from(f, place, layout.size, value, zeroed=zeroed, fresh=True)
    elif isinstance(layout, IntType):
        held = f.widen(f.value(value))
        memory.store_int(f, place, layout, held)
    else:
        raise f.bug(f"a value of type {value.type} for {layout.name}", value.span)


def copy_from(
    f: State, place: Place, size: int, source: tree.Expr, *, zeroed: bool = False, fresh: bool = False
) -> None:
    """Copy what ``source`` refers to over ``size`` bytes at ``place``; what it does not have is zero.
    ``fresh``: nobody looks at the place if ``source`` raises."""
    given = min(layout_of(source, f).size, size)
    if isinstance(source, tree.ConstData) and size <= memory.IMMEDIATE_LIMIT:
        memory.store_constant(f, place, source.data[:given].ljust(size, b"\0"), zeroed=zeroed)
        return
    if isinstance(source, tree.NewStruct | tree.NewArray) and given == size:
        write_new(f, place, source, zeroed=zeroed)
        return
    if isinstance(source, tree.PacketCopy):
        made = load_packet(f, source, place if fresh else f.temporary("packet", given), given)
    else:
        made = f.place(source)
    if made is not place:
        memory.copy(f, place, made, given)
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
    place = f.object(node, "object", layout.size, node.label)
    write_new(f, place, node)
    return place


def copy_of(f: State, node: tree.CopyOf) -> Place:
    """A new object with the contents of another one."""
    size = node.type.layout.size
    place = f.object(node, "object", size, node.label)
    copy_from(f, place, size, node.source, fresh=True)
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
    buffer = f.object(node, "overlap", given, "overlap")
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
    if len(origins) == 2 and origins != stack and Origin.MIXED not in origins:
        return False
    return any(may_be_part(expr, f.facts.parts) for expr in (target, source))
